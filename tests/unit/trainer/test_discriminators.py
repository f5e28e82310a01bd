"""Discriminators judge patches of the size that they should, at each scale, and the losses pull the right way."""

from __future__ import annotations

import pytest
import torch

from services.trainer.discriminators import (
    Features,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    feature_matching,
    judged_as,
)


@pytest.mark.parametrize(("halvings", "patch"), [(3, 70), (2, 34)])
def test_a_score_sees_a_patch_of_that_size(halvings: int, patch: int) -> None:
    layers = PatchDiscriminator(2, 4, halvings).layers
    convolutions = [module for module in layers.modules() if isinstance(module, torch.nn.Conv2d)]
    seen = 1
    for convolution in reversed(convolutions):
        seen = (seen - 1) * convolution.stride[0] + convolution.kernel_size[0]
    assert seen == patch


def test_scales_halve_and_may_begin_late() -> None:
    judges = MultiScaleDiscriminator(2, 4, scales=3)
    x = torch.rand(1, 2, 64, 64)
    sizes = [features[0].shape[-1] for features in judges(x)]
    assert len(sizes) == 3
    assert sizes[0] > 1.9 * sizes[1] - 4 > 1.9 * sizes[2] - 8
    late = judges(x, first=1)
    assert len(late) == 2
    assert torch.equal(late[0][-1], judges.scales[1](x)[-1])


def _scores(value: float) -> list[Features]:
    return [[torch.full((1, 4, 3, 3), value), torch.full((1, 1, 2, 2), value)] for _ in range(2)]


def test_least_squares_over_all_scales() -> None:
    assert judged_as(_scores(1.0), 1.0).item() == 0.0
    assert judged_as(_scores(0.5), 1.0).item() == pytest.approx(2 * 0.25)


def test_feature_matching_leaves_out_the_scores_and_the_real_side() -> None:
    fake, real = _scores(0.25), _scores(1.0)
    real[0][0].requires_grad_()
    fake[0][0].requires_grad_()
    loss = feature_matching(fake, real)
    assert loss.item() == pytest.approx(2 * 0.75)
    loss.backward()  # type: ignore[no-untyped-call]
    assert real[0][0].grad is None
    assert fake[0][0].grad is not None
    assert (fake[0][0].grad < 0).all()
