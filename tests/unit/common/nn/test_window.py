"""The window follows the dancer, holds all of them, and is a pure function of the track."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.nn.window import fit_window, follow_window, person_boxes
from services.common.tracks import PoseTrack
from tests.unit.trainer.figure import make_pose


def _track(count: int, shift: float = 0.0) -> PoseTrack:
    poses = np.stack([make_pose(t / 12.0, 160, 120) for t in range(count)])
    poses[:, :, 0] += shift * np.arange(count)[:, None]
    return PoseTrack(poses, np.ones(count, dtype=np.bool_), 160, 120)


def test_person_stays_inside_the_window() -> None:
    track = _track(80, shift=0.5)
    window = fit_window(track, 128)
    keypoints = window.keypoints(track)
    assert (window.width, window.height) == (128, 128)
    assert keypoints[..., :2].min() >= 0
    assert keypoints[..., :2].max() <= 127


def test_window_fills_with_the_person() -> None:
    track = _track(80)
    boxes = person_boxes(track)
    tallest = (boxes[:, 3] - boxes[:, 1]).max() * fit_window(track, 128).scale
    assert tallest > 0.55 * 128


def test_translations_are_whole_px_and_the_scale_is_one() -> None:
    window = fit_window(_track(40, shift=0.7), 128)
    assert np.array_equal(window.matrices[:, :, 2], np.round(window.matrices[:, :, 2]))
    assert len(np.unique(window.matrices[:, 0, 0])) == 1
    assert not window.matrices[:, 0, 1].any()


def test_steady_motion_is_followed_without_lag() -> None:
    pose = make_pose(0.0, 160, 120)
    poses = np.repeat(pose[None], 60, axis=0)
    poses[:, :, 0] += 2.0 * np.arange(60)[:, None]
    window = fit_window(PoseTrack(poses, np.ones(60, dtype=np.bool_), 400, 120), 128)
    centre = (127 / 2 - window.matrices[:, 0, 2]) / window.scale
    assert np.abs(np.diff(centre)[5:-5] - 2.0).max() <= 1.0 / window.scale
    boxes = person_boxes(PoseTrack(poses, np.ones(60, dtype=np.bool_), 400, 120))
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    assert np.abs(centre - middle)[6:-6].max() <= 1.0 / window.scale


def test_invalid_frames_do_not_matter() -> None:
    track = _track(50)
    spoilt = track.keypoints.copy()
    spoilt[20:23] = 1e4
    valid = track.valid.copy()
    valid[20:23] = False
    window = fit_window(PoseTrack(spoilt, valid, 160, 120), 128)
    assert window.scale == pytest.approx(fit_window(track, 128).scale, rel=0.1)


def test_driven_window_keeps_the_scale_and_grows_by_whole_units() -> None:
    track = _track(50)
    trained = fit_window(track, 128)
    wide = track.keypoints.copy()
    wide[30:45, 9, 0] += 100.0
    driven = follow_window(PoseTrack(wide, track.valid, 160, 120), trained.scale, 128, 32)
    assert driven.scale == trained.scale
    assert driven.width > 128
    assert driven.width % 32 == 0
    assert driven.height == 128
    same = follow_window(track, trained.scale, 128, 32)
    assert (same.width, same.height) == (128, 128)
    assert np.array_equal(same.matrices, trained.matrices)


def test_a_still_window_stays_and_holds_everybody() -> None:
    track = _track(80, shift=0.5)
    window = fit_window(track, 128, still=True)
    assert (window.matrices == window.matrices[0]).all()
    assert window.scale < fit_window(track, 128).scale
    keypoints = window.keypoints(track)
    assert keypoints[..., :2].min() >= 0
    assert keypoints[..., :2].max() <= 127

    away = track.keypoints.copy()
    away[:, :, 0] += 60.0
    driven = follow_window(PoseTrack(away, track.valid, 160, 120), window.scale, 128, 32, window.centre)
    assert driven.width > 128
    assert np.allclose(driven.centre, window.centre)
    grown = (driven.width - 128) // 2
    assert np.array_equal(driven.matrices[0, :, 2], window.matrices[0, :, 2] + [grown, 0])


def test_a_larger_canvas_keeps_its_middle() -> None:
    window = fit_window(_track(30), 128)
    canvas = window.resized(160, 160)
    assert np.array_equal(canvas.matrices[:, :, 2] - window.matrices[:, :, 2], np.full((30, 2), 16.0))


def test_a_track_without_a_sure_pose_is_refused() -> None:
    poses = np.zeros((10, 133, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="10 frames"):
        fit_window(PoseTrack(poses, np.zeros(10, dtype=np.bool_), 160, 120), 128)


def test_one_frame_is_enough() -> None:
    assert fit_window(_track(1), 64).matrices.shape == (1, 2, 3)
