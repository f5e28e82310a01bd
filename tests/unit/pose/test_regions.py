from __future__ import annotations

import numpy as np
import pytest

from services.pose.blazepose.regions import Pyramid, Region, pointing_up, to_frame, whole_frame


@pytest.mark.parametrize("side", [64.0, 150.0, 600.0])
@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_a_crop_shows_what_to_frame_says(side: float, angle: float) -> None:
    rows, columns = np.mgrid[:400, :500]
    image = np.stack([columns // 2, rows // 2, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    region = Region(240.0, 200.0, side, angle)
    crop = Pyramid(image).crop(region, 64)
    inner = np.array([[8, 20], [32, 32], [50, 11]])
    # Output pixel (u, v) has its centre half a pixel from its edge.
    places = to_frame(inner.astype(np.float32) + 0.5, region, 64)
    inside = (places > 3).all(axis=1) & (places < [497, 397]).all(axis=1)
    assert inside.any()
    shown = crop[inner[:, 1], inner[:, 0], :2].astype(float) * 2
    assert np.abs(shown - places)[inside].max() < 4


def test_outside_the_frame_is_black() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    crop = Pyramid(image).crop(whole_frame(100, 50), 64)
    assert (crop[:10] == 0).all()
    assert (crop[30] == 200).all()


def test_a_region_points_the_way_it_was_told() -> None:
    region = pointing_up(10.0, 20.0, 8.0, dx=3.0, dy=0.0)
    top_middle = to_frame(np.array([[32, 0]], np.float32), region, 64)
    np.testing.assert_allclose(top_middle, [[14.0, 20.0]], atol=1e-5)
    moved = region.shifted_down(-0.5)
    np.testing.assert_allclose([moved.x, moved.y], [14.0, 20.0], atol=1e-6)
