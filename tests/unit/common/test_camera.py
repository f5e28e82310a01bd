"""Affine maps and their application."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common import camera


def similarity(scale: float, turn: float, x: float, y: float) -> camera.Matrix:
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


maps = st.builds(similarity, st.floats(0.2, 4), st.floats(-3.1, 3.1), st.floats(-500, 500), st.floats(-500, 500))
POINTS = np.array([[0.0, 0.0], [13.0, 7.0], [-40.0, 99.5]])


@given(maps, maps)
def test_composition_applies_the_last_map_first(first: camera.Matrix, second: camera.Matrix) -> None:
    together = camera.transform_points(camera.compose(first, second), POINTS)
    one_by_one = camera.transform_points(first, camera.transform_points(second, POINTS))
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)


@given(maps)
def test_inverse_undoes(matrix: camera.Matrix) -> None:
    np.testing.assert_allclose(camera.compose(camera.invert(matrix), matrix), camera.identity(), atol=1e-7)


def test_paths_go_through_the_same_functions() -> None:
    path = np.stack([similarity(1.0, 0.1 * t, t, -t) for t in range(4)])
    np.testing.assert_allclose(
        camera.compose(camera.invert(path), path), np.tile(camera.identity(), (4, 1, 1)), atol=1e-12
    )
    moved = camera.transform_points(path, np.broadcast_to(POINTS, (4, 3, 2)))
    np.testing.assert_allclose(moved[2], camera.transform_points(path[2], POINTS))


def test_resize_keeps_pixel_edges_in_place() -> None:
    corner = camera.transform_points(camera.resize((100, 50), (300, 25)), np.array([[-0.5, -0.5], [99.5, 49.5]]))
    np.testing.assert_allclose(corner, [[-0.5, -0.5], [299.5, 24.5]])


def test_window_of_everything_is_the_identity_and_a_part_is_enlarged() -> None:
    np.testing.assert_allclose(camera.window(0, 0, 64, 48, (64, 48)), camera.identity())
    corner = camera.transform_points(camera.window(10, 20, 30, 40, (60, 80)), np.array([[9.5, 19.5], [39.5, 59.5]]))
    np.testing.assert_allclose(corner, [[-0.5, -0.5], [59.5, 79.5]])


def test_at_scale_does_the_same_to_the_smaller_picture() -> None:
    matrix, half = similarity(1.1, 0.2, 8, -3), camera.resize((64, 48), (32, 24))
    small = camera.at_scale(matrix, (64, 48), (32, 24))
    expected = camera.transform_points(half, camera.transform_points(matrix, POINTS))
    np.testing.assert_allclose(camera.transform_points(small, camera.transform_points(half, POINTS)), expected)


def test_corner_displacement_is_that_of_the_worst_corner() -> None:
    path = np.stack([camera.identity(), similarity(1, 0, 3, 4), similarity(2, 0, 0, 0)])
    np.testing.assert_allclose(camera.corner_displacement(path, 4, 5), [0, 5, 5])


def test_identity_warp_changes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(camera.warp(picture, camera.identity(), (30, 20)), picture)


def test_outside_is_the_edge_or_zero() -> None:
    picture = np.full((10, 10), 200, np.uint8)
    shift = similarity(1, 0, 5, 0)
    assert camera.warp(picture, shift, (10, 10)).min() == 200
    assert camera.warp(picture, shift, (10, 10), border="zero")[:, :4].max() == 0


@pytest.mark.parametrize("scale", [0.7, 0.36, 0.2, 0.05])
def test_minified_pictures_are_means_of_what_they_cover(scale: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (800, 800), np.uint8)
    side = round(800 * scale)
    small = camera.warp(noise, camera.resize((800, 800), (side, side)), (side, side))
    # Means of n independent pixels spread sqrt(n) times less; aliasing would keep the noise's own spread of 74.
    assert abs(float(small.mean()) - 127.5) < 3
    assert float(small[1:-1, 1:-1].std()) < 74 * scale * 1.3


def test_minifying_is_about_equally_sharp_at_any_shift() -> None:
    # White noise is the hardest picture there is; plain bilinear sampling at a third of the size gives 2.0 here.
    noise = np.random.default_rng(2).integers(0, 256, (600, 600), np.uint8)
    base = camera.resize((600, 600), (200, 200))
    spreads = []
    for shift in np.linspace(0, 3, 7):
        small = camera.warp(noise, camera.compose(base, similarity(1, 0, shift, shift)), (200, 200))
        spreads.append(float(small[5:-5, 5:-5].std()))
    assert max(spreads) / min(spreads) < 1.25
