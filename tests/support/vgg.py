"""Small weights by the names of VGG's, made here: no package carries the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch

VGG_16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG_19 = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
"""Numbers of the convolutions; of VGG-19's those that the perceptual loss needs."""


def random_vgg() -> dict[str, torch.Tensor]:
    """VGG-19's of four to eight channels."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, torch.Tensor] = {}
    channels = 3
    for number in VGG_19:
        wide = 4 if number < 10 else 8
        weights[f"features.{number}.weight"] = 0.3 * torch.randn(wide, channels, 3, 3, generator=generator)
        weights[f"features.{number}.bias"] = torch.full((wide,), 0.1)
        channels = wide
    return weights


def passing_vgg(bias: float, convolutions: Sequence[int] = VGG_19) -> dict[str, torch.Tensor]:
    """Convolutions that hand three channels on; the first adds so much that nothing is cut off below zero."""
    weights = {}
    for number in convolutions:
        kernel = torch.zeros(3, 3, 3, 3)
        kernel[range(3), range(3), 1, 1] = 1.0
        weights[f"features.{number}.weight"] = kernel
        weights[f"features.{number}.bias"] = torch.full((3,), bias if number == 0 else 0.0)
    return weights


def saved_vgg(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    """The file that they are written to."""
    path = folder / "vgg.safetensors"
    path.write_bytes(safetensors.torch.save(weights))
    return path
