"""Composition over the plate: exact background, right place, no bleeding of hidden colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.nn.layer import lay_over
from tests.unit.trainer.figure import make_plate

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _window(size: int, colour: float, alpha: float) -> NDArray[np.float32]:
    window = np.full((size, size, 4), colour, dtype=np.float32)
    window[..., 3] = 0.0
    window[size // 4 : -size // 4, size // 4 : -size // 4, 3] = alpha
    return window


def test_nothing_there_leaves_the_plate() -> None:
    plate = make_plate(80, 60)
    assert np.array_equal(lay_over(plate, _window(32, 1.0, 0.0), IDENTITY), plate)
    assert np.array_equal(lay_over(plate, _window(32, 1.0, 0.02), IDENTITY), plate)


def test_solid_colour_replaces_the_plate_only_where_it_is() -> None:
    plate = make_plate(80, 60)
    matrix = np.array([[1.0, 0.0, -10.0], [0.0, 1.0, -5.0]])  # plate px (10, 5) is window px (0, 0)
    result = lay_over(plate, _window(32, 0.5, 1.0), matrix)
    assert (result[5 + 10 : 5 + 22, 10 + 10 : 10 + 22] == 128).all()
    result[5 + 6 : 5 + 26, 10 + 6 : 10 + 26] = plate[5 + 6 : 5 + 26, 10 + 6 : 10 + 26]
    assert np.array_equal(result, plate)


def test_scaled_window_covers_the_scaled_area() -> None:
    plate = np.zeros((120, 160, 3), dtype=np.uint8)
    matrix = np.array([[0.5, 0.0, -10.0], [0.0, 0.5, -10.0]])
    result = lay_over(plate, _window(32, 1.0, 1.0), matrix)
    share = (result[..., 0] > 127).sum() / (16 * 16 * 4)
    assert 0.9 < share < 1.1
    assert result[52, 52, 0] == 255


def test_colour_under_full_transparency_does_not_bleed() -> None:
    plate = np.full((60, 60, 3), 200, dtype=np.uint8)
    window = _window(32, 200 / 255, 1.0)
    window[window[..., 3] == 0, :3] = 0.0  # black where transparent
    matrix = np.array([[0.7, 0.0, 0.3], [0.0, 0.7, 0.6]])
    result = lay_over(plate, window, matrix)
    assert np.abs(result.astype(int) - 200).max() <= 1


def test_a_window_outside_the_frame_changes_nothing() -> None:
    plate = make_plate(80, 60)
    matrix = np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0]])
    assert np.array_equal(lay_over(plate, _window(32, 1.0, 1.0), matrix), plate)


def test_a_window_half_outside_is_cut() -> None:
    plate = make_plate(80, 60)
    matrix = np.array([[1.0, 0.0, 16.0], [0.0, 1.0, 0.0]])
    result = lay_over(plate, _window(32, 0.0, 1.0), matrix)
    assert (result[10:22, :6] == 0).all()
