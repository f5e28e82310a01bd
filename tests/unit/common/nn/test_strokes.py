"""The drawing of the skeleton: where lines are, how they fade, that it moves with the pose and has gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from services.common.nn.strokes import CHANNELS, Strokes
from services.common.skeleton import KEYPOINT_COUNT

SIZE = 32
NAMES = [channel.name for channel in CHANNELS]
coordinate = st.floats(-20.0, 50.0, width=32)
confidence = st.floats(0.0, 1.0, width=32)


def _draw(keypoints: Tensor, size: int = SIZE) -> Tensor:
    ticks = torch.arange(size).float()
    drawn: Tensor = Strokes(2.0, 1.0)(keypoints, ticks, ticks)
    return drawn


def _keypoints(**points: tuple[float, float, float]) -> Tensor:
    keypoints = torch.zeros(1, KEYPOINT_COUNT, 3)
    for name, value in points.items():
        keypoints[0, int(name[1:])] = torch.tensor(value)
    return keypoints


def test_every_keypoint_that_matters_is_drawn_and_names_are_unique() -> None:
    used = {index for channel in CHANNELS for stroke in channel.strokes for end in stroke for index in end}
    assert set(range(23)) <= used
    assert set(range(91, 133)) <= used
    assert len(set(NAMES)) == len(NAMES)


def test_line_is_full_on_the_bone_and_a_gaussian_across_it() -> None:
    planes = _draw(_keypoints(k5=(4.0, 16.0, 1.0), k7=(28.0, 16.0, 1.0)))
    arm = planes[0, NAMES.index("left_upper_arm")]
    assert arm[16, 4:29].min() > 0.999
    assert arm[18, 16].item() == pytest.approx(np.exp(-0.5), abs=1e-3)
    assert arm[16, 30].item() == pytest.approx(np.exp(-0.5), abs=1e-3)  # round ends
    assert planes[0, NAMES.index("right_upper_arm")].max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(x=coordinate, y=coordinate, u=coordinate, v=coordinate, a=confidence, b=confidence)
def test_values_are_the_distance_to_the_segment(x: float, y: float, u: float, v: float, a: float, b: float) -> None:
    shin = _draw(_keypoints(k13=(x, y, a), k15=(u, v, b)))[0, NAMES.index("left_shin")].numpy()
    columns, rows = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    along = ((columns - x) * (u - x) + (rows - y) * (v - y)) / max((u - x) ** 2 + (v - y) ** 2, 1e-6)
    along = np.clip(along, 0.0, 1.0)
    square = (columns - x - along * (u - x)) ** 2 + (rows - y - along * (v - y)) ** 2
    assert np.abs(shin - min(1.0, 4.0 * a, 4.0 * b) * np.exp(-square / 8.0)).max() < 5e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), dx=st.integers(-6, 6), dy=st.integers(-6, 6))
def test_moving_the_pose_moves_the_drawing(seed: int, dx: int, dy: int) -> None:
    random = torch.Generator().manual_seed(seed)
    keypoints = torch.rand((1, KEYPOINT_COUNT, 3), generator=random) * torch.tensor([SIZE, SIZE, 1.0])
    moved = keypoints + torch.tensor([dx, dy, 0.0])
    before, after = _draw(keypoints), _draw(moved)
    assert before.min() >= 0
    assert before.max() <= 1
    inner = after[:, :, 8 + dy : SIZE - 8 + dy, 8 + dx : SIZE - 8 + dx]
    assert (inner - before[:, :, 8:-8, 8:-8]).abs().max() < 2e-3


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_gradients_are_finite_even_for_bones_of_no_length(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    keypoints = torch.rand((2, KEYPOINT_COUNT, 3), generator=random) * torch.tensor([SIZE, SIZE, 1.0])
    keypoints[0] = 0.0
    keypoints[1, 7] = keypoints[1, 5]
    keypoints.requires_grad_()
    _draw(keypoints).sum().backward()  # type: ignore[no-untyped-call]
    assert keypoints.grad is not None
    assert torch.isfinite(keypoints.grad).all()
    assert keypoints.grad[1].abs().max() > 0


def test_a_limb_that_is_hardly_seen_is_drawn_like_one_that_is() -> None:
    arms = [_draw(_keypoints(k5=(4.0, 16.0, 1.0), k7=(28.0, 16.0, seen))) for seen in (1.0, 0.5, 0.25, 0.1)]
    assert torch.equal(arms[0], arms[1])
    assert torch.equal(arms[0], arms[2])
    assert arms[3].max() == pytest.approx(0.4, abs=1e-4)


def test_unknown_keypoints_draw_nothing() -> None:
    assert _draw(torch.zeros(1, KEYPOINT_COUNT, 3)).max() < 1e-6


def test_half_resolution_samples_the_same_lines() -> None:
    keypoints = _keypoints(k11=(3.0, 5.0, 1.0), k13=(25.0, 22.0, 0.7))
    whole = _draw(keypoints)
    ticks = torch.arange(0, SIZE, 2).float()
    assert torch.allclose(Strokes(2.0, 1.0)(keypoints, ticks, ticks), whole[:, :, ::2, ::2], atol=1e-5)


def test_line_widths_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Strokes(0.0, 1.0)
