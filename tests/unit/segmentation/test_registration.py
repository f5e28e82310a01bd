"""Cameras of drawn clips, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common import camera
from services.common.errors import Cancelled
from services.segmentation.registration import register_camera
from tests.unit.segmentation.scenes import HEIGHT, WIDTH, Filmed, filmed


def error_px(matrices: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    return camera.corner_displacement(camera.compose(matrices, camera.invert(truth)), WIDTH, HEIGHT)


def test_a_drifting_camera_is_found() -> None:
    clip = filmed(24, step=3)
    found = register_camera(clip, clip.people)
    truth = clip.true_path(found.path.reference_frame)
    assert camera.corner_displacement(truth, WIDTH, HEIGHT).max() > 5
    assert error_px(found.path.matrices, truth).max() < 0.3
    assert found.registered_fraction == 1.0
    assert found.warnings == []


def test_a_tripod_is_exactly_still() -> None:
    clip = filmed(16, drift=0.0)
    found = register_camera(clip, clip.people)
    np.testing.assert_array_equal(found.path.matrices, np.tile(camera.identity(), (16, 1, 1)))
    assert found.max_displacement_px == 0.0


def test_the_same_frames_give_the_same_bits() -> None:
    clip = filmed(24, step=3)
    first, second = (register_camera(clip, clip.people).path for _ in range(2))
    np.testing.assert_array_equal(first.matrices, second.matrices)


class Wall(Filmed):
    def gray(self, index: int) -> NDArray[np.uint8]:
        return np.full((HEIGHT, WIDTH), 200, np.uint8)


def test_a_plain_wall_is_taken_as_still_and_said() -> None:
    found = register_camera(Wall(filmed(6).frames), lambda _index: [])
    np.testing.assert_array_equal(found.path.matrices, np.tile(camera.identity(), (6, 1, 1)))
    assert found.registered_fraction == 0.0
    assert "too little texture" in found.warnings[0]


class Pan(Filmed):
    """A camera that pans over a wide wall: the last frame shares nothing with the first."""

    def gray(self, index: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng(5)
        coarse = rng.integers(0, 256, (HEIGHT // 8 + 2, 400), np.uint8)
        wall = camera.warp(coarse, camera.window(0, 0, 400, HEIGHT / 8, (3200, HEIGHT)), (3200, HEIGHT))
        return np.ascontiguousarray(wall[:, 40 * index : 40 * index + WIDTH])


def test_a_pan_is_chained_through_key_frames() -> None:
    clip = Pan(filmed(24, step=3).frames)
    found = register_camera(clip, lambda _index: [])
    steps = np.diff(found.path.matrices[:, 0, 2])
    np.testing.assert_allclose(steps, 40, atol=0.2)
    assert "moves too much" in found.warnings[0]


def test_a_frame_that_cannot_be_measured_is_interpolated() -> None:
    clip = filmed(24, step=3)

    class OneBlack(Filmed):
        def gray(self, index: int) -> NDArray[np.uint8]:
            return np.zeros((HEIGHT, WIDTH), np.uint8) if index == 5 else super().gray(index)

    found = register_camera(OneBlack(clip.frames), clip.people)
    truth = clip.true_path(found.path.reference_frame)
    assert found.registered_fraction == pytest.approx(23 / 24)
    assert error_px(found.path.matrices, truth).max() < 1.0


def test_it_stops_when_told() -> None:
    clip = filmed(16, drift=0.0)

    def stop(done: int) -> None:
        if done == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        register_camera(clip, clip.people, stop)


def test_one_frame_is_a_path() -> None:
    clip = Filmed(filmed(16, drift=0.0).frames[:1])
    assert len(register_camera(clip, clip.people).path) == 1
