"""Fine detail comes from the draft, everything else from the network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.puppet import DraftShare, add_detail

Floats = NDArray[np.float32]
SIDE = 128


def _figure(colour: Floats) -> Floats:
    """A disc of these colours (S, S, 3)."""
    y, x = np.mgrid[: len(colour), : len(colour)] / len(colour) - 0.5
    alpha = np.clip((0.4 - np.hypot(x, y)) * len(colour) / 2, 0, 1)
    return np.dstack([colour, alpha]).astype(np.float32)


def _stripes(side: int, period_px: float) -> Floats:
    wave = 0.5 + 0.2 * np.sin(2 * np.pi * np.arange(side) / period_px)
    return np.repeat(np.tile(wave, (side, 1))[..., None], 3, axis=2).astype(np.float32)


def test_a_dull_picture_gets_the_detail_of_the_draft() -> None:
    flat, striped = _figure(np.full((SIDE, SIDE, 3), 0.5, np.float32)), _figure(_stripes(SIDE, 4.0))
    result = add_detail(flat, striped, 256)
    middle = (slice(50, 78), slice(50, 78))
    assert np.std(result[middle][..., 0]) > 0.8 * np.std(striped[middle][..., 0])
    assert abs(result[middle][..., :3].mean() - 0.5) < 0.01


def test_the_same_picture_stays_nearly_the_same_and_coarse_differences_do_not_come_through() -> None:
    picture = _figure(np.asarray(cv2.GaussianBlur(_stripes(SIDE, 40.0), (0, 0), 4), np.float32))
    assert np.abs(add_detail(picture, picture, 256) - picture)[picture[..., 3] > 0.5][:, :3].max() < 0.03
    other = picture.copy()
    other[..., :3] += 0.3
    changed = add_detail(picture, other, 256)
    assert np.abs(changed - picture)[picture[..., 3] > 0.5][:, :3].max() < 0.03


def test_coarse_colours_are_the_drafts_by_its_share() -> None:
    painted, draft = (_figure(np.full((SIDE, SIDE, 3), brightness, np.float32)) for brightness in (0.3, 0.7))
    middle = (slice(50, 78), slice(50, 78), slice(0, 3))
    for share, brightness in ((0.0, 0.3), (0.5, 0.5), (1.0, 0.7)):
        result = add_detail(painted, draft, 256, DraftShare(share))
        assert np.abs(result[middle] - brightness).max() < 0.01
        assert np.array_equal(result[..., 3], add_detail(painted, draft, 256)[..., 3])


def test_a_network_and_a_draft_meet_halfway() -> None:
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)

    def blob(column: float) -> Floats:
        """A soft figure with a spot in its middle."""
        distance = np.hypot(x - column, y - SIDE / 2)
        colour = 0.3 + 0.5 * np.exp(-np.square(distance / 10.0))
        return np.dstack([colour, colour, colour, np.clip((40.0 - distance) / 8.0, 0.0, 1.0)]).astype(np.float32)

    def middle(picture: Floats) -> float:
        return float((picture[..., 3] * x).sum() / picture[..., 3].sum())

    painted, draft = blob(60.0), blob(66.0)
    assert abs(middle(add_detail(painted, draft, 256)) - 63.0) < 0.5
    lain = add_detail(painted, draft, 256, DraftShare(1.0, 0.5))
    assert np.abs(lain[..., 3] - 0.5 * (add_detail(painted, painted, 256) + draft)[..., 3]).max() < 0.05
    assert np.array_equal(add_detail(painted, draft, 256, DraftShare(1.0, 1.0)), draft)


def test_what_is_bent_leaves_no_seam_where_the_draft_ends() -> None:
    """The network's arm reaches farther than the draft's."""
    arm = np.zeros((SIDE, SIDE, 4), np.float32)
    arm[50:74, 4:124] = 1.0
    arm[..., :3] = cv2.GaussianBlur(np.random.default_rng(0).random((SIDE, SIDE, 3), np.float32), (0, 0), 3.0)
    draft = np.roll(arm, 3, axis=0)
    draft[:, 70:] = 0.0
    result, before = add_detail(arm, draft, SIDE), add_detail(arm, np.zeros_like(arm), SIDE)
    steps, usual = (np.abs(np.diff(picture[:, 78:120], axis=1)).max() for picture in (result, before))
    assert steps < 2.0 * usual


def test_the_outline_is_no_detail() -> None:
    flat = _figure(np.full((SIDE, SIDE, 3), 0.8, np.float32))
    result = add_detail(flat, flat, 256)
    assert np.abs(result[..., :3] - 0.8)[flat[..., 3] > 0.02].max() < 0.01


def test_a_larger_draft_makes_a_larger_window() -> None:
    flat, striped = _figure(np.full((64, 64, 3), 0.5, np.float32)), _figure(_stripes(SIDE, 4.0))
    result = add_detail(flat, striped, 128)
    assert result.shape == (SIDE, SIDE, 4)
    assert np.std(result[50:78, 50:78, 0]) > 0.1


def test_detail_a_little_out_of_place_is_brought_to_where_it_meets_the_networks() -> None:
    wave = 0.5 + 0.3 * np.sign(np.sin(2 * np.pi * np.arange(SIDE) / 32.0))
    stripes = np.repeat(np.tile(wave[:, None], (1, SIDE))[..., None], 3, axis=2).astype(np.float32)
    truth = _figure(stripes)
    painted = _figure(np.asarray(cv2.GaussianBlur(stripes, (0, 0), 3.0), np.float32))
    middle = (slice(40, 88), slice(40, 88), slice(0, 3))
    for shift in (-3, 3):
        result = add_detail(painted, _figure(np.roll(stripes, shift, axis=0)), 256)
        met = _figure(np.roll(stripes, int(shift / 2), axis=0))
        assert np.abs(result - met)[middle].mean() < 0.6 * np.abs(painted - truth)[middle].mean()


def test_lines_are_never_darker_or_brighter_than_in_both_pictures() -> None:
    line = np.full((SIDE, SIDE, 3), 0.6, np.float32)
    line[60:63] = 0.3
    dark = _figure(np.full((SIDE, SIDE, 3), 0.4, np.float32))
    result = add_detail(dark, _figure(line), 256)
    middle = result[40:88, 40:88, :3]
    # Unbounded it would be 0.1; the cubic resampling overshoots a little of itself.
    assert middle.min() >= 0.3 - 0.05
    assert middle.max() <= 0.6 + 0.05
    assert middle.min() < 0.36  # the line is there


def test_where_the_draft_has_nobody_no_colour_changes() -> None:
    picture = _figure(_stripes(SIDE, 4.0))
    empty = np.zeros_like(picture)
    assert np.array_equal(add_detail(picture, empty, 256)[..., :3], picture[..., :3])


def test_edges_are_crisper_and_stay_where_they_are() -> None:
    soft = _figure(np.full((SIDE, SIDE, 3), 0.5, np.float32))
    soft[..., 3] = cv2.GaussianBlur(soft[..., 3], (0, 0), 4)
    result = add_detail(soft, soft, 256)
    before, after = soft[SIDE // 2, :, 3], result[SIDE // 2, :, 3]
    assert after.min() == 0.0
    assert after.max() == 1.0
    undecided = [int(((edge > 0.1) & (edge < 0.9)).sum()) for edge in (before, after)]
    assert undecided[1] < 0.75 * undecided[0]
    alone = add_detail(soft, np.zeros_like(soft), 256)
    assert np.array_equal(before > 0.4, after > 0.4)
    assert np.array_equal(before > 0.4, alone[SIDE // 2, :, 3] > 0.4)
    # Flow between two equal pictures, one of them dulled, is not quite 0.
    assert np.abs(result - alone)[..., 3].max() < 0.05


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (4, 120), (120, 4), (12, 12)])
def test_of_a_draft_of_a_few_pixels_or_a_strip_detail_is_taken_too(height: int, width: int, factor: int) -> None:
    """OpenCV's flow ends the process on pictures that are too small or too slim for it."""
    random = np.random.default_rng(0)
    window, draft = random.random((SIDE, SIDE, 4), np.float32), np.zeros((SIDE * factor, SIDE * factor, 4), np.float32)
    for top, left in ((0, 0), (len(draft) - height, len(draft) - width)):
        draft[top : top + height, left : left + width] = 0.5 + 0.5 * random.random((height, width, 4), np.float32)
        assert np.isfinite(add_detail(window, draft, 256)).all()
