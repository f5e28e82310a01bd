"""LPIPS with weights made here: its arithmetic against numpy, and what weights it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.common.errors import DataCorrupted, WeightsMissing
from services.trainer.lpips import Lpips
from tests.support.vgg import VGG_16, passing_vgg, saved_vgg

SHIFT, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
RNG = np.random.default_rng(3)


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    first = RNG.integers(0, 256, (64, 48, 3)).astype(np.uint8)
    return first, np.clip(first.astype(int) + RNG.integers(-40, 41, first.shape), 0, 255).astype(np.uint8)


def passing_on(bias: float) -> dict[str, torch.Tensor]:
    linear = {f"lin{depth}.weight": torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1) * (depth + 1) for depth in range(5)}
    return passing_vgg(bias, VGG_16) | linear


def expected(first: NDArray[np.uint8], second: NDArray[np.uint8], bias: float) -> float:
    planes = [(each / 127.5 - 1.0 - SHIFT) / SCALE + bias for each in (first, second)]
    total = 0.0
    for depth in range(5):
        if depth:
            planes = [p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2, 3).max(axis=(1, 3)) for p in planes]
        unit = [p / np.sqrt((p**2).sum(axis=2, keepdims=True)) for p in planes]
        total += float(((unit[0] - unit[1]) ** 2 @ (np.array([0.5, 1.0, 2.0]) * (depth + 1))).mean())
    return total


def test_the_distance_is_the_papers(tmp_path: Path) -> None:
    lpips = Lpips(saved_vgg(tmp_path, passing_on(4.0)))
    first, second = pictures()
    assert lpips(first, second) == pytest.approx(expected(first, second, 4.0), rel=1e-4)
    assert lpips(first, first) == 0.0


def test_channels_may_grow_from_depth_to_depth_and_more_damage_is_farther(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights: dict[str, torch.Tensor] = {}
    channels = 3
    for number, wide in zip(VGG_16, (4, 4, 6, 6, 8, 8, 8, 8, 8, 8, 8, 8, 8), strict=True):
        weights[f"features.{number}.weight"] = 0.3 * torch.randn(wide, channels, 3, 3)
        weights[f"features.{number}.bias"] = torch.full((wide,), 0.1)
        channels = wide
    weights |= {f"lin{depth}.weight": torch.rand(count) for depth, count in enumerate((4, 6, 8, 8, 8))}
    lpips = Lpips(saved_vgg(tmp_path, weights))
    first, second = pictures()
    half = ((first.astype(int) + second) // 2).astype(np.uint8)
    assert 0 < lpips(first, half) < lpips(first, second)


def test_weights_have_a_digest_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    path = saved_vgg(tmp_path, passing_on(4.0))
    digest = Lpips(path).digest
    assert digest.startswith("lpips/")
    assert Lpips(saved_vgg(tmp_path, passing_on(5.0))).digest != digest
    with pytest.raises(WeightsMissing):
        Lpips(tmp_path / "none.safetensors")
    del (weights := passing_on(4.0))["lin3.weight"]
    with pytest.raises(DataCorrupted, match="lin3"):
        Lpips(saved_vgg(tmp_path, weights))
    path.write_bytes(b"not weights")
    with pytest.raises(DataCorrupted):
        Lpips(path)
