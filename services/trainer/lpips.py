"""LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018).

VGG-16's features at five depths, each scaled to unit length over its channels; squared differences weighted by channel
and averaged over the picture. Weights come as safetensors by torchvision's and the authors' names: `features.N.weight`,
`features.N.bias` (N of VGG-16's convolutions) and `lin0.weight` ... `lin4.weight`, any shape of so many elements.
Channel counts are the file's own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.common.errors import DataCorrupted, WeightsMissing

Picture = NDArray[np.uint8]

# VGG-16: the numbers of the convolutions between two poolings; a tap after each group's last.
_GROUPS: Final = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
# The authors' own shift and scale of pictures in -1..1.
_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)


class Lpips:
    """The distance of two pictures: 0 for equal ones, around 0.5 for ones that look different.

    digest: of the weights, for the keys of what is measured with them. Raises WeightsMissing, DataCorrupted.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        if not path.is_file():
            raise WeightsMissing(f"there are no LPIPS weights at {path}; leave the setting empty to do without")
        data = path.read_bytes()
        self.digest = f"lpips/{hashlib.sha256(data).hexdigest()}"
        try:
            weights = safetensors.torch.load(data)
            self._convolutions = [
                [(weights[f"features.{n}.weight"], weights[f"features.{n}.bias"]) for n in group] for group in _GROUPS
            ]
            self._linear = [weights[f"lin{depth}.weight"].reshape(1, -1, 1, 1) for depth in range(len(_GROUPS))]
        except (safetensors.SafetensorError, KeyError) as error:
            raise DataCorrupted(f"{path.name} does not hold LPIPS weights: {error}", object=path.name) from error
        self._to(torch.device(device))

    def _to(self, device: torch.device) -> None:
        self._device = device
        self._convolutions = [[(w.to(device), b.to(device)) for w, b in group] for group in self._convolutions]
        self._linear = [weight.to(device) for weight in self._linear]
        self._shift, self._scale = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (_SHIFT, _SCALE))

    def __call__(self, first: Picture, second: Picture) -> float:
        """uint8 (H, W, 3) RGB each, of one size, 32 px a side at least."""
        with torch.inference_mode():
            pair = torch.from_numpy(np.stack([first, second])).to(self._device).permute(0, 3, 1, 2)
            distance = torch.zeros((), device=self._device)
            for features, weight in zip(self._features(pair.float() / 127.5 - 1.0), self._linear, strict=True):
                unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
                distance += ((unit[:1] - unit[1:]).square() * weight).sum(1).mean()
        return float(distance)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        taps = []
        x = (pictures - self._shift) / self._scale
        for depth, group in enumerate(self._convolutions):
            x = functional.max_pool2d(x, 2) if depth else x
            for weight, bias in group:
                x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            taps.append(x)
        return taps
