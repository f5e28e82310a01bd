"""Composition over the plate: exact background, right place, no bleeding of hidden colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.nn.layer import cut_out, decontaminated, lay_over
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


def _soft_disc(colour: float, tainted: float) -> NDArray[np.float32]:
    """A disc of one colour whose half-transparent rim has kept `tainted` of a white plate."""
    y, x = np.mgrid[:64, :64]
    alpha = np.clip((18.0 - np.hypot(x - 32, y - 32)) / 6.0 + 0.5, 0.0, 1.0)
    shade = colour + (1.0 - colour) * tainted * (1.0 - alpha)
    return np.dstack([shade, shade, shade, alpha]).astype(np.float32)


def test_the_plate_is_taken_out_of_the_edge() -> None:
    window = _soft_disc(0.2, 0.9)
    clean = decontaminated(window)
    assert np.array_equal(clean[..., 3], window[..., 3])
    rim = (window[..., 3] > 0.1) & (window[..., 3] < 0.85)
    inside = window[..., 3] >= 0.999
    black = np.zeros((64, 64, 3), dtype=np.uint8)
    halo = [lay_over(black, each, IDENTITY)[rim].mean() - 255 * 0.2 * window[rim, 3].mean() for each in (window, clean)]
    assert halo[0] > 25
    assert abs(halo[1]) < 5
    assert np.abs(clean[inside, :3] - window[inside, :3]).max() < 0.01


def test_an_edge_that_is_clean_stays_and_what_is_thin_keeps_its_colour() -> None:
    window = _soft_disc(0.2, 0.0)
    assert np.abs(decontaminated(window) - window).max() < 1e-3
    hair = np.zeros((64, 64, 4), dtype=np.float32)
    hair[:, 30:32] = (0.4, 0.3, 0.2, 0.4)
    assert np.allclose(decontaminated(hair), hair)


def test_a_cut_out_is_the_person_alone_with_colour_beyond_the_edge() -> None:
    window = _soft_disc(0.5, 0.0)
    window[window[..., 3] == 0, :3] = 1.0  # what nobody should ever see
    matrix = np.array([[0.5, 0.0, -8.0], [0.0, 0.5, -4.0]])
    colour, alpha = cut_out(window, matrix, 160, 120)
    assert (colour.shape, alpha.shape) == ((120, 160, 3), (120, 160))
    assert alpha[72, 80] == 255
    assert alpha[0, 0] == 0
    assert np.abs(colour.astype(int) - 128).max() <= 2, "the person's colour goes on where it is transparent"
    plate = make_plate(160, 120)
    cover = alpha[..., None] / 255.0
    assert np.abs(np.rint(colour * cover + plate * (1 - cover)) - lay_over(plate, window, matrix)).max() <= 2
    nothing = cut_out(np.zeros((32, 32, 4), np.float32), IDENTITY, 50, 40)
    assert not nothing[1].any()
