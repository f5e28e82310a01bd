"""LPIPS: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018).

VGG-16's features at five depths, each scaled to unit length over its channels; squared differences weighted by channel
and averaged over the picture. Beside VGG-16's own weights (vgg.py) the file holds the authors' `lin0.weight` ...
`lin4.weight`, any shape of so many elements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.trainer.vgg import Vgg, Weights

Picture = NDArray[np.uint8]

# VGG-16; what the last convolution of each group gives is compared.
_GROUPS: Final = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
# The authors' own shift and scale of pictures in -1..1.
_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)


class Lpips:
    """The distance of two pictures: 0 for equal ones, around 0.5 for ones that look different.

    digest: of the weights, for the keys of what is measured with them. Raises WeightsMissing, DataCorrupted.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        weights = Weights(path, "LPIPS weights")
        self.digest = f"lpips/{weights.digest}"
        self._device = torch.device(device)
        self._vgg = Vgg(weights, _GROUPS, _SHIFT, _SCALE).to(self._device)
        self._linear = [
            weights[f"lin{depth}.weight"].reshape(1, -1, 1, 1).to(self._device) for depth in range(len(_GROUPS))
        ]

    def __call__(self, first: Picture, second: Picture) -> float:
        """uint8 (H, W, 3) RGB each, of one size, 32 px a side at least."""
        with torch.inference_mode():
            pair = torch.from_numpy(np.stack([first, second])).to(self._device).permute(0, 3, 1, 2)
            distance = torch.zeros((), device=self._device)
            for given, weight in zip(self._vgg(pair.float() / 127.5 - 1.0), self._linear, strict=True):
                features = given[-1]
                unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
                distance += ((unit[:1] - unit[1:]).square() * weight).sum(1).mean()
        return float(distance)
