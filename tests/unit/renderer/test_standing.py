"""The performer stands where the source's dancer stood."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.camera import transform_points
from services.common.tracks import PoseTrack
from services.normalization.normalize import normalize
from services.renderer.standing import standing_in
from tests.support.figures import dancing


@pytest.mark.parametrize(("mode", "reach"), [("global", 0.03), ("limbs", 0.12)])
def test_the_map_brings_the_driven_body_back_onto_the_sources(mode: str, reach: float) -> None:
    source = dancing(80, height=300, x=200, floor=500, depth=25, travel=60, seed=1)
    target = dancing(90, height=420, x=350, floor=640, seed=2)
    driven = normalize(source, 25.0, target, 25.0, mode).track
    maps = standing_in(driven, source)
    moved = transform_points(maps, driven.keypoints[:, :23, :2])
    known = source.keypoints[:, :23, 2] > 0
    distance = np.hypot(*np.moveaxis(moved - source.keypoints[:, :23, :2], -1, 0))[known]
    assert distance.mean() < reach * 300
    feet = np.hypot(*np.moveaxis(moved[:, 15:17].mean(1) - source.keypoints[:, 15:17, :2].mean(1), -1, 0))
    assert feet.max() < 0.5, "feet stay where they were"
    assert (maps[:, 0, 1] == 0).all()
    assert np.abs(np.diff(maps[:, 0, 0])).max() < 0.02, "the size does not jitter"


def test_frames_without_anybody_get_their_neighbours_map() -> None:
    source = dancing(20)
    valid = np.ones(20, np.bool_)
    valid[8:11] = False
    gone = PoseTrack(np.where(valid[:, None, None], source.keypoints, 0).astype(np.float32), valid, 640, 720)
    maps = standing_in(gone, gone)
    assert np.isfinite(maps).all()
    assert np.allclose(maps[:, 0, 0], 1.0)
    assert np.abs(maps[9, :, 2]).max() < 1e-6
