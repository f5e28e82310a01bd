"""Losses: what they punish, and that a divided batch has the losses of the whole one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from services.common import metrics_image
from services.trainer.augment import Batch
from services.trainer.losses import LossWeights, generator_losses, ssim_map

SIZE = 48


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _batch(count: int) -> Batch:
    matte = torch.zeros(count, 1, SIZE, SIZE)
    for n in range(count):
        matte[n, :, 8 : 20 + 6 * n, 10:30] = 1.0
    return Batch(
        _random(count, 3, SIZE, SIZE), matte, torch.ones_like(matte), _random(count, 3, SIZE, SIZE, seed=1),
        torch.zeros(count, 133, 3),
    )  # fmt: skip


@pytest.mark.parametrize("divided", [1, 2])
def test_a_divided_batch_has_the_losses_of_the_whole(divided: int) -> None:
    weights = LossWeights()
    batch, output = _batch(4), _random(4, 4, SIZE, SIZE, seed=2)
    whole, _ = generator_losses(output, batch, weights)
    parts = [
        generator_losses(output[n : n + divided], batch.rows(n, n + divided), weights)[0] for n in range(0, 4, divided)
    ]
    for name, value in whole.items():
        assert torch.stack([part[name] for part in parts]).mean().item() == pytest.approx(value.item(), rel=1e-5), name


def test_the_truth_costs_nothing_and_unseen_pixels_never_count() -> None:
    batch = _batch(2)
    truth = torch.cat([batch.frame, batch.matte], dim=1)
    matched = replace(batch, plate=batch.frame)
    losses, composite = generator_losses(truth, matched, LossWeights())
    assert torch.equal(composite, batch.frame)
    assert all(loss.item() < 1e-6 for loss in losses.values())
    seen = torch.ones_like(batch.seen)
    seen[..., 24:] = 0.0
    spoilt = truth.clone()
    spoilt[..., 40:] = 0.0  # farther from what is seen than the statistics reach
    spoiled, _ = generator_losses(spoilt, replace(matched, seen=seen), LossWeights())
    assert all(loss.item() < 1e-6 for loss in spoiled.values())


def test_ssim_is_the_measure_s_ssim() -> None:
    first, second = _random(1, 3, SIZE, SIZE), _random(1, 3, SIZE, SIZE, seed=1)
    pictures = [(each[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy() for each in (first, second)]
    exact = [torch.from_numpy(each.astype(np.float32) / 255.0).permute(2, 0, 1)[None] for each in pictures]
    found = ssim_map(*exact).mean(1)[0].numpy()
    difference = np.abs(found - metrics_image.ssim_map(*pictures))
    assert difference[6:-6, 6:-6].max() < 1e-4  # at the edge the two mirror differently
