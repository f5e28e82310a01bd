from __future__ import annotations

import numpy as np
import pytest

from services.pose.blazepose import detector


def test_there_is_an_anchor_for_every_output() -> None:
    anchors = detector._anchors()
    assert anchors.shape == (2254, 2)
    assert anchors.min() > 0
    assert anchors.max() < 1


@pytest.mark.parametrize(
    ("width", "height", "side"), [(1920, 1080, 1080), (1080, 1920, 960), (300, 300, 300), (64, 90, 80)]
)
def test_tiles_cover_the_frame(width: int, height: int, side: int) -> None:
    seen = np.zeros((height, width), bool)
    for tile in detector._tiles(width, height, side):
        left, top = round(tile.x - (side - 1) / 2), round(tile.y - (side - 1) / 2)
        seen[max(0, top) : top + side, max(0, left) : left + side] = True
    assert seen.all()


def test_overlapping_boxes_are_blended_and_others_kept() -> None:
    points = np.zeros((3, 6, 2), np.float32)
    points[:, 0] = [[50, 50], [52, 50], [150, 50]]
    points[:, 1] = 40
    merged = detector._merge(points, np.array([0.9, 0.3, 0.8], np.float32))
    assert [round(score, 3) for score, _ in merged] == [0.9, 0.8]
    np.testing.assert_allclose(merged[0][1][0], [50.5, 50], atol=1e-4)
