"""Discriminators that judge patches, at several scales, and the losses between them and a generator.

Patches and scales after Isola et al. (CVPR 2017) and Wang et al. (CVPR 2018), least squares after Mao et al.
(ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.common.nn.pix2pixhd import InstanceNorm

# Of one scale: what each layer gives, the last being the score of each patch (1 = real).
Features = list[Tensor]


class PatchDiscriminator(nn.Module):
    """Convolutions of 4 px that halve the resolution `halvings` times, then two that keep it.

    Args:
        inputs: channels of what is judged.
        width: channels of the first layer; they double up to eight times that.
        halvings: 3 make patches of 70 px.
    """

    def __init__(self, inputs: int, width: int = 64, halvings: int = 3) -> None:
        super().__init__()
        widths = [min(width << i, 8 * width) for i in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(inputs, width, 4, stride=2, padding=2), nn.LeakyReLU(0.2))]
        for i, channels in enumerate(widths[1:]):
            stride = 2 if i + 1 < halvings else 1
            conv = nn.Conv2d(widths[i], channels, 4, stride=stride, padding=2)
            layers.append(nn.Sequential(conv, InstanceNorm(), nn.LeakyReLU(0.2)))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=2))
        self.layers = nn.ModuleList(layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> Features:
        """What is judged (N, C, H, W) to the features of each layer and, last, scores (N, 1, h, w)."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features


class MultiScaleDiscriminator(nn.Module):
    """Equal discriminators, each of which sees half the resolution of the one before."""

    def __init__(self, inputs: int, width: int = 64, halvings: int = 3, scales: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(inputs, width, halvings) for _ in range(scales))

    def forward(self, x: Tensor, first: int = 0) -> list[Features]:
        """Features and scores of each scale, the finest first. `x` is of the resolution that scale `first` sees."""
        found: list[Features] = []
        for discriminator in list(self.scales)[first:]:
            x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False) if found else x
            found.append(discriminator(x))
        return found


def judged_as(found: Sequence[Features], score: float) -> Tensor:
    """Mean square distance of all patches' scores from `score`, summed over the scales."""
    distances = [(features[-1].float() - score).square().mean() for features in found]
    return torch.stack(distances).sum()


def feature_matching(fake: Sequence[Features], real: Sequence[Features]) -> Tensor:
    """Mean absolute difference of what the layers give for fake and real, summed over layers and scales.

    Scores are no features; no gradient reaches what the real ones come from.
    """
    differences = [
        (one.float() - other.detach().float()).abs().mean()
        for one_scale, other_scale in zip(fake, real, strict=True)
        for one, other in zip(one_scale[:-1], other_scale[:-1], strict=True)
    ]
    return torch.stack(differences).sum()
