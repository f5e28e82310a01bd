"""The anchor's generator: shapes, what it may depend on, and that the fixed part stays without gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.common.nn.generator import window_grid
from services.common.nn.pix2pixhd import InstanceNorm, Pix2PixHD, Pix2PixHDConfig
from tests.unit.trainer.figure import make_pose

CONFIG = Pix2PixHDConfig(8, downs=2, global_blocks=1, local_blocks=1, sigma_px=2.0, fine_sigma_px=1.0)


@pytest.fixture(scope="module")
def generator() -> Pix2PixHD:
    torch.manual_seed(1)
    return Pix2PixHD(CONFIG)


def _inputs(width: int, height: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    poses = torch.from_numpy(np.stack([make_pose(t / 3.0, width, height) for t in range(2)]))
    return poses, *window_grid(width, height), torch.zeros(2, 3, height, width)


def test_the_window_is_opaque_and_in_range(generator: Pix2PixHD) -> None:
    window = generator(*_inputs(40, 32))
    assert window.shape == (2, 4, 32, 40)
    assert window[:, :3].min() >= 0
    assert window[:, :3].max() <= 1
    assert (window[:, 3] == 1).all()


def test_the_picture_before_matters(generator: Pix2PixHD) -> None:
    poses, columns, rows, before = _inputs(32, 32)
    other = torch.rand(before.shape, generator=torch.Generator().manual_seed(0))
    plain, after = (generator(poses, columns, rows, each) for each in (before, other))
    assert (plain - after).abs().max() > 1e-4


def test_the_coarse_part_gives_half_the_resolution_and_alone_learns_from_it(generator: Pix2PixHD) -> None:
    poses, columns, rows, before = _inputs(32, 32)
    halves = [ticks.view(-1, 2).mean(1) for ticks in (columns, rows)]
    picture = generator.coarse_body(generator.draw(poses, *halves), before[:, :, ::2, ::2])
    assert picture.shape == (2, 3, 16, 16)
    generator.zero_grad()
    picture.sum().backward()  # type: ignore[no-untyped-call]
    learnt = {name.split(".")[0] for name, each in generator.named_parameters() if each.grad is not None}
    assert learnt == {"coarse", "coarse_last"}


def test_the_enhancer_learns_alone_while_the_coarse_part_is_fixed(generator: Pix2PixHD) -> None:
    poses, columns, rows, before = _inputs(32, 32)
    planes = generator.draw(poses, columns, rows)
    fixed, whole = (generator.body(planes, before, coarse_is_fixed=each) for each in (True, False))
    assert torch.equal(fixed, whole)
    generator.zero_grad()
    fixed.sum().backward()  # type: ignore[no-untyped-call]
    learnt = {name.split(".")[0] for name, each in generator.named_parameters() if each.grad is not None}
    assert learnt == {"enhancer_first", "enhancer_last"}


def test_instance_norm_is_the_usual_one() -> None:
    x = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 4.0 + 1.0
    assert torch.allclose(InstanceNorm()(x), torch.nn.InstanceNorm2d(3)(x), atol=1e-5)


def test_configuration_survives_json_and_says_what_sizes_fit() -> None:
    assert Pix2PixHDConfig.from_json(CONFIG.to_json()) == CONFIG
    assert CONFIG.multiple == 8
    assert Pix2PixHDConfig().multiple == 32
