"""Pose tracks and camera paths: shapes are checked, arrays come back, points move as the camera says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common import tracks
from services.common.artifacts import Artifacts, Recipe
from services.common.camera import compose, invert
from services.common.skeleton import KEYPOINT_COUNT
from services.common.tracks import CameraPath, PoseTrack


def some_track(frames: int, seed: int = 0) -> PoseTrack:
    """A track of random points, a third of them unknown."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 1000, (frames, KEYPOINT_COUNT, 3)).astype(np.float32)
    keypoints[:, :, 2] /= 1000
    keypoints[rng.random((frames, KEYPOINT_COUNT)) < 1 / 3] = 0
    return PoseTrack(keypoints, rng.random(frames) < 0.8, 1280, 720)


def some_path(frames: int, seed: int = 0) -> NDArray[np.float64]:
    """Cameras that turn, zoom and shift a little."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.2, 0.2, frames), rng.uniform(0.8, 1.25, frames)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = rng.uniform(-50, 50, (2, frames))
    return np.stack([np.stack([cos, -sin, x], axis=-1), np.stack([sin, cos, y], axis=-1)], axis=1)


@pytest.mark.parametrize("frames", [0, 1, 7])
def test_tracks_and_paths_come_back_from_the_store(artifacts: Artifacts, frames: int) -> None:
    track = some_track(frames)
    path = CameraPath(some_path(frames), np.full(frames, 0.5, np.float32), 3, 1280, 720)
    writer = artifacts.write(Recipe("pose_track", "pose", 1))
    writer.put_arrays("track", track.to_arrays())
    writer.put_arrays("camera", path.to_arrays())
    made = artifacts.commit(writer, {})
    track_back = PoseTrack.from_arrays(made.read_arrays("track"))
    path_back = CameraPath.from_arrays(made.read_arrays("camera"))
    np.testing.assert_array_equal(track_back.keypoints, track.keypoints)
    np.testing.assert_array_equal(track_back.valid, track.valid)
    np.testing.assert_array_equal(path_back.matrices, path.matrices)
    np.testing.assert_array_equal(path_back.residual_px, path.residual_px)
    assert (track_back.width, track_back.height, len(track_back)) == (1280, 720, frames)
    assert (path_back.width, path_back.height, path_back.reference_frame, len(path_back)) == (1280, 720, 3, frames)


POINTS = np.zeros((2, KEYPOINT_COUNT, 3), np.float32)
VALID = np.ones(2, np.bool_)
NAN_POINTS = np.full_like(POINTS, np.nan)


@pytest.mark.parametrize(
    ("keypoints", "valid", "said"),
    [
        (POINTS[:, :17], VALID, "keypoints must be"),
        (POINTS[:, :, :2], VALID, "keypoints must be"),
        (POINTS.astype(np.float64), VALID, "keypoints must be"),
        (NAN_POINTS, VALID, "finite"),
        (POINTS, VALID[:1], "valid must be"),
        (POINTS, VALID.astype(np.uint8), "valid must be"),
    ],
)
def test_tracks_of_other_shapes_are_refused(keypoints: NDArray[Any], valid: NDArray[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PoseTrack(keypoints, valid, 64, 64)


@pytest.mark.parametrize(
    ("matrices", "residual", "said"),
    [
        (np.zeros((2, 3, 3)), np.zeros(2, np.float32), "matrices must be"),
        (np.zeros((2, 2, 3), np.float32), np.zeros(2, np.float32), "matrices must be"),
        (np.full((2, 2, 3), np.inf), np.zeros(2, np.float32), "finite"),
        (np.zeros((2, 2, 3)), np.zeros(3, np.float32), "residual_px must be"),
    ],
)
def test_paths_of_other_shapes_are_refused(matrices: NDArray[Any], residual: NDArray[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CameraPath(matrices, residual, 0, 64, 64)


@given(st.integers(0, 2**32 - 1))
def test_points_move_as_their_frames_camera_says(seed: int) -> None:
    track, matrices = some_track(3, seed), some_path(3, seed)
    moved = track.transformed(matrices)
    for frame, index in np.argwhere(track.keypoints[:, :, 2] > 0)[::17]:
        x, y, _ = track.keypoints[frame, index]
        expected = matrices[frame] @ np.array([x, y, 1.0])
        np.testing.assert_allclose(moved.keypoints[frame, index, :2], expected, rtol=1e-5, atol=1e-3)


@given(st.integers(0, 2**32 - 1))
def test_confidence_stays_and_the_unknown_stays_unknown(seed: int) -> None:
    track = some_track(4, seed)
    moved = track.transformed(some_path(4, seed))
    np.testing.assert_array_equal(moved.keypoints[:, :, 2], track.keypoints[:, :, 2])
    assert not moved.keypoints[track.keypoints[:, :, 2] == 0].any()
    np.testing.assert_array_equal(moved.valid, track.valid)
    assert moved.keypoints.dtype == np.float32


@given(st.integers(0, 2**32 - 1))
def test_there_and_back_again(seed: int) -> None:
    track, path = some_track(3, seed), some_path(3, seed)
    back = track.transformed(path).transformed(invert(path))
    np.testing.assert_allclose(back.keypoints, track.keypoints, atol=2e-2)
    twice = track.transformed(path).transformed(path)
    np.testing.assert_allclose(twice.keypoints, track.transformed(compose(path, path)).keypoints, atol=2e-2)


def test_in_how_many_parts_points_are_moved_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    track, matrices = some_track(50), some_path(50)
    whole = track.transformed(matrices).keypoints
    monkeypatch.setattr(tracks, "_FRAMES_AT_ONCE", 7)
    assert np.array_equal(track.transformed(matrices).keypoints, whole)


def test_a_camera_that_never_moved_moves_nothing() -> None:
    track = some_track(5)
    path = CameraPath.identity(5, 1280, 720)
    np.testing.assert_array_equal(track.transformed(path.matrices).keypoints, track.keypoints)
    assert (len(path), path.reference_frame, path.residual_px.max()) == (5, 0, 0)


def test_one_matrix_a_frame() -> None:
    with pytest.raises(ValueError, match=r"need matrices \(5, 2, 3\)"):
        some_track(5).transformed(some_path(4))
