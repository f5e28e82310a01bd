"""The perceptual loss: how differently a network that knows pictures sees what was made and what is true.

Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (ECCV 2016), with the layers and
weights of Wang et al. (pix2pixHD, CVPR 2018) and Chan et al. (Everybody Dance Now, ICCV 2019): VGG-19's first
convolution of each group, after its rectifier, absolute differences.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.trainer.vgg import Vgg, Weights

# VGG-19, up to the last convolution that is compared. The first of each group is, by this weight.
_GROUPS: Final = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25), (28,))
_LAYER_WEIGHTS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
# What torchvision's weights were trained on: mean and deviation of ImageNet's pictures in 0..1.
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


class Perceptual(nn.Module):
    """The loss of pictures against the truth. It learns nothing.

    path: the weights (see vgg.py). digest: of them, for the keys of what is trained by them. Raises WeightsMissing,
    DataCorrupted.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        weights = Weights(path, "VGG-19's weights")
        self.digest = f"perceptual/{weights.digest}"
        self.vgg = Vgg(weights, _GROUPS, _MEAN, _DEVIATION)

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """A scalar, a mean over samples; pictures float (N, 3, H, W) in 0..1, 16 px a side at least.

        The gradient goes to `made` alone.
        """
        with torch.no_grad():
            wanted = self.vgg(true)
        losses = [
            weight * functional.l1_loss(found[0].float(), other[0].float())
            for weight, found, other in zip(_LAYER_WEIGHTS, self.vgg(made), wanted, strict=True)
        ]
        return torch.stack(losses).sum()
