"""The perceptual loss: how differently a network that knows pictures sees what was made and what is true.

Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (ECCV 2016), with the layers and
weights of Wang et al. (pix2pixHD, CVPR 2018) and Chan et al. (Everybody Dance Now, ICCV 2019): VGG-19's first
convolution of each group, after its rectifier, absolute differences. Weights come as safetensors by torchvision's
names, `features.N.weight` and `features.N.bias`; no package carries them. Channel counts are the file's own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from services.common.errors import DataCorrupted, WeightsMissing

# VGG-19: the numbers of the convolutions between two poolings, up to the last one that is asked for. The first of each
# group is compared, by this weight.
_GROUPS: Final = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25), (28,))
_LAYER_WEIGHTS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
# What torchvision's weights were trained on: mean and deviation of ImageNet's pictures in 0..1.
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


class Perceptual(nn.Module):
    """The loss of pictures against the truth. It learns nothing.

    digest: of the weights, for the keys of what is trained by them. Raises WeightsMissing, DataCorrupted.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.is_file():
            raise WeightsMissing(f"there are no VGG-19 weights at {path}; leave the setting empty to train without")
        data = path.read_bytes()
        self.digest = f"perceptual/{hashlib.sha256(data).hexdigest()}"
        try:
            weights = safetensors.torch.load(data)
            self.convolutions = nn.ModuleDict()
            channels = 3
            for number in (number for group in _GROUPS for number in group):
                kernels, bias = weights[f"features.{number}.weight"], weights[f"features.{number}.bias"]
                convolution = nn.Conv2d(channels, len(kernels), 3, padding=1)
                convolution.load_state_dict({"weight": kernels, "bias": bias})
                self.convolutions[str(number)] = convolution
                channels = len(kernels)
        except (safetensors.SafetensorError, KeyError, RuntimeError) as error:
            detail = str(error).splitlines()[-1].strip()
            raise DataCorrupted(f"{path.name} does not hold VGG-19's weights: {detail}", object=path.name) from error
        self.requires_grad_(requires_grad=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """A scalar, a mean over samples; pictures float (N, 3, H, W) in 0..1, 16 px a side at least.

        The gradient goes to `made` alone.
        """
        with torch.no_grad():
            wanted = self._features(true)
        losses = [
            weight * functional.l1_loss(found.float(), other.float())
            for weight, found, other in zip(_LAYER_WEIGHTS, self._features(made), wanted, strict=True)
        ]
        return torch.stack(losses).sum()

    def _features(self, pictures: Tensor) -> list[Tensor]:
        taps = []
        x = (pictures - self.mean) / self.deviation
        for depth, group in enumerate(_GROUPS):
            x = functional.max_pool2d(x, 2) if depth else x
            for number in group:
                x = functional.relu(self.convolutions[str(number)](x))
                if number == group[0]:
                    taps.append(x)
        return taps
