from __future__ import annotations

import numpy as np
import pytest

from services.common.artifacts import Artifacts, Recipe
from services.common.errors import DataCorrupted
from services.common.puppet import References, enlarged, open_references, put_references


def _references(count: int) -> References:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pictures = np.stack([np.dstack([np.add.outer(ramp // 2, ramp // 4)] * 4) + row for row in range(count)])
    keypoints = np.random.default_rng(0).uniform(0, 64, (count, 133, 3)).astype(np.float32)
    return References(pictures.astype(np.uint8), keypoints)


def test_what_is_stored_comes_back(artifacts: Artifacts) -> None:
    writer = artifacts.write(Recipe("performer", "test", 1))
    given = _references(3)
    put_references(writer, given)
    found = open_references(artifacts.commit(writer, {}))
    assert np.array_equal(found.keypoints, given.keypoints)
    assert np.array_equal(found.pictures[..., 3], given.pictures[..., 3])
    assert np.abs(found.pictures[..., :3].astype(int) - given.pictures[..., :3]).mean() < 2
    assert found.side == 64


def test_pictures_without_their_poses_are_refused(artifacts: Artifacts) -> None:
    writer = artifacts.write(Recipe("performer", "test", 1))
    put_references(writer, _references(3))
    writer.put_arrays("references.safetensors", {"keypoints": _references(2).keypoints})
    with pytest.raises(DataCorrupted, match="2 reference poses, 3 pictures and 3 mattes"):
        open_references(artifacts.commit(writer, {}))


def test_enlarged_keeps_pixel_centres() -> None:
    points = np.array([[[0.0, 0.0, 0.9], [3.0, 1.5, 0.2]]], np.float32)
    assert enlarged(points, 2).tolist() == [[[0.5, 0.5, pytest.approx(0.9)], [6.5, 3.5, pytest.approx(0.2)]]]
    assert np.array_equal(enlarged(points, 1), points)
