"""The face refiner's network: what it is given of a face (`face.py`) to what is added to its colours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.common.nn.face import PLANES

_WIDTHS = (32, 64, 96)
# The most that is added to a colour in 0..1.
_REACH = 0.5


def _block(before: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.SiLU(),
        nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.SiLU(),
    )  # fmt: skip


class FaceRefiner(nn.Module):
    """A small U with skips (Ronneberger et al., MICCAI 2015), at half the square's resolution and below, which begins
    by adding nothing."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.down1, self.down2, self.down3 = _block(4 * PLANES, fine), _block(fine, middle), _block(middle, coarse)
        self.up2, self.up1 = _block(middle + coarse, middle), _block(fine + middle, fine)
        self.last = nn.Conv2d(fine, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """float (N, PLANES, S, S) to float32 (N, 3, S, S) in -0.5..0.5; S a multiple of 8."""
        first = self.down1(functional.pixel_unshuffle(planes, 2))
        second = self.down2(functional.avg_pool2d(first, 2))
        third = self.down3(functional.avg_pool2d(second, 2))
        second = self.up2(torch.cat([second, _twice(third)], 1))
        first = self.up1(torch.cat([first, _twice(second)], 1))
        added: Tensor = functional.pixel_shuffle(self.last(first), 2)
        return torch.tanh(added.float()) * _REACH


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear")
