"""What a generator is trained to reduce. Each loss is a named scalar, so that new ones are new entries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from services.trainer.augment import Batch


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts."""

    colour: float = 1.0
    """Absolute difference of the composite, weighted towards the person."""
    alpha: float = 0.5
    """Absolute difference of alpha and matte."""
    structure: float = 1.0
    """1 - SSIM of the composite inside the person."""
    perceptual: float = 1.0
    """See perceptual.py; counts where there are weights for it."""
    background: float = 0.1
    """Weight of pixels away from the person, relative to the person's."""


def generator_losses(output: Tensor, batch: Batch, weights: LossWeights) -> tuple[dict[str, Tensor], Tensor]:
    """The weighted losses by name, their sum being what is minimised, and the composite (N, 3, H, W).

    Args:
        output: float (N, 4, H, W), colour and alpha in 0..1.
        batch: what the output should have been.
        weights: factors already applied in the result.
    """
    colour, alpha = output[:, :3], output[:, 3:]
    composite = torch.lerp(batch.plate, colour, alpha)
    person = grown(batch.matte) * batch.seen
    weight = batch.seen * weights.background + person * (1.0 - weights.background)
    losses = {
        "colour": weights.colour * weighted_mean((composite - batch.frame).abs(), weight),
        "alpha": weights.alpha * ((alpha - batch.matte).abs() * batch.seen).mean(),
        "structure": weights.structure * structure_loss(composite, batch.frame, person),
    }
    return losses, composite


def grown(matte: Tensor, radius_px: int = 4) -> Tensor:
    """The matte (N, 1, H, W) with its maximum over the square of `radius_px` about each pixel."""
    size = 2 * radius_px + 1
    across = functional.max_pool2d(matte, (1, size), stride=1, padding=(0, radius_px))
    return functional.max_pool2d(across, (size, 1), stride=1, padding=(radius_px, 0))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values (N, C, H, W) under `weight` (N, 1, H, W) in each sample, then over the samples.

    A mean over samples is the same however a batch is divided.
    """
    sums = (values.mean(1, keepdim=True) * weight).sum((1, 2, 3))
    return (sums / weight.sum((1, 2, 3)).clamp_min(1.0)).mean()


def structure_loss(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """1 - SSIM averaged under `weight` (N, 1, H, W); pictures (N, 3, H, W) in 0..1.

    The statistics are those of `services.common.metrics_image.ssim_map` (Wang et al., 2004).
    """
    return weighted_mean(1.0 - ssim_map(first, second), weight)


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity at each pixel and channel: (N, 3, H, W)."""
    mean_a, square_a, product = _blur(torch.stack([first, first * first, first * second]))
    mean_b, square_b = _blur(torch.stack([second, second * second]))
    var_a, var_b, cov = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2.0 * mean_a * mean_b + c1) * (2.0 * cov + c2)
    scores: Tensor = likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return scores


def _blur(x: Tensor) -> Tensor:
    """Gaussian of 11 px, sigma 1.5 px, edges mirrored, over the last two axes.

    As two products with banded matrices: on a CPU 20 times faster than a convolution with one channel.
    """
    return _blur_matrix(x.shape[-2], x) @ x @ _blur_matrix(x.shape[-1], x).T


def _blur_matrix(size: int, like: Tensor) -> Tensor:
    offsets = torch.arange(-5, 6, device=like.device)
    kernel = torch.exp(-0.5 * (offsets.to(like.dtype) / 1.5) ** 2)
    taps = torch.arange(size, device=like.device)[:, None] + offsets
    last = size - 1
    taps = last - (last - taps.abs()).abs()
    matrix = torch.zeros(size, size, device=like.device, dtype=like.dtype)
    return matrix.scatter_add_(1, taps, (kernel / kernel.sum()).expand(size, -1))
