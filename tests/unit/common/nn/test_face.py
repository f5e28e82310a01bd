"""Where the face is, what a refiner is given of it, and that nothing else of a window changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.common.nn.face import MIXED, PLANES, FacePainter, face_area, face_planes, face_side
from services.common.nn.refiner import FaceRefiner
from services.common.puppet import enlarged
from tests.unit.trainer.figure import make_pose

Floats = NDArray[np.float32]
WIDTH, HEIGHT, SIDE = 192, 160, 32


def _pose(x: float, y: float) -> Floats:
    """A pose whose head is about (x, y), px."""
    pose = make_pose(0.4, WIDTH, HEIGHT)
    pose[:, :2] += np.array([x, y], np.float32) - pose[0:5, :2].mean(axis=0)
    return pose


@pytest.mark.parametrize(
    ("trunk_px", "picture", "side"), [(135.1, 512, 96), (96.1, 512, 72), (20, 512, 32), (400, 256, 128)]
)
def test_the_square_is_as_large_as_a_head_and_fits(trunk_px: float, picture: int, side: int) -> None:
    assert face_side(trunk_px, picture) == side


def test_the_square_is_about_the_head_and_inside_the_picture() -> None:
    assert face_area(_pose(100, 60), SIDE, HEIGHT, WIDTH) == (slice(44, 76), slice(84, 116))
    assert face_area(_pose(2, HEIGHT - 3), SIDE, HEIGHT, WIDTH) == (slice(HEIGHT - SIDE, HEIGHT), slice(0, SIDE))


def test_there_is_none_where_the_head_is_not_known_or_not_in_the_picture() -> None:
    unknown = _pose(100, 60)
    unknown[:5, 2] = 0.0
    assert face_area(unknown, SIDE, HEIGHT, WIDTH) is None
    assert face_area(_pose(-1, 60), SIDE, HEIGHT, WIDTH) is None
    assert face_area(_pose(100, 60), SIDE, SIDE - 1, WIDTH) is None


def test_a_head_of_which_one_point_is_known_is_there() -> None:
    pose = _pose(100, 60)
    pose[1:5, 2] = 0.0
    rows, columns = face_area(pose, SIDE, HEIGHT, WIDTH) or (slice(0), slice(0))
    assert rows.start <= pose[0, 1] < rows.stop
    assert abs((columns.start + columns.stop) / 2 - pose[0, 0]) <= 1


def test_a_refiner_is_given_both_pictures_and_the_lines_that_are_known() -> None:
    painted = np.random.default_rng(0).random((HEIGHT // 2, WIDTH // 2, 4), dtype=np.float32)
    picture = np.repeat(np.repeat(painted, 2, axis=0), 2, axis=1)
    pose = _pose(100, 60)
    area = face_area(pose, SIDE, HEIGHT, WIDTH)
    assert area is not None
    planes = face_planes(picture, painted, pose, area)
    assert planes.shape == (PLANES, SIDE, SIDE)
    assert planes.dtype == np.float32
    assert np.array_equal(planes[:4].transpose(1, 2, 0), picture[area])
    enlarged_whole = cv2.resize(painted, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    # OpenCV takes places to 1/32 px here.
    assert np.abs(planes[4:8].transpose(1, 2, 0) - enlarged_whole[area]).max() < 0.04
    assert (planes[8:].max(axis=(1, 2)) > 0.5).all()
    pose[23:40, 2] = 0.1  # the contour
    assert face_planes(picture, painted, pose, area)[8].max() == 0.0


def test_lines_are_where_the_points_are() -> None:
    pose, black = _pose(100.25, 60), np.zeros((HEIGHT, WIDTH, 4), np.float32)
    area = face_area(pose, SIDE, HEIGHT, WIDTH)
    assert area is not None
    contour = face_planes(black, black, pose, area)[8]
    x, y = (pose[24:39, :2] - np.array([area[1].start, area[0].start])).T.round().astype(int)
    assert contour[y, x].min() > 0.3
    far = np.ones_like(contour, dtype=np.bool_)
    for left, top in zip(x, y, strict=True):
        far[max(0, top - 4) : top + 5, max(0, left - 4) : left + 5] = False
    assert contour[far].max() == 0.0


def test_the_face_changes_and_nothing_else_and_never_by_its_neighbours() -> None:
    random = np.random.default_rng(1)
    painted = [random.random((HEIGHT, WIDTH, 4), dtype=np.float32) for _ in range(5)]
    poses = np.stack([_pose(60 + 10 * t, 60 + 5 * t) for t in range(5)])
    poses[3, :5, 2] = 0.0
    torch.manual_seed(0)
    network = FaceRefiner().eval()
    torch.nn.init.normal_(network.last.weight, std=0.2)
    calls = []

    def added(planes: Floats) -> Floats:
        calls.append(planes.shape)
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(planes)).numpy())

    together = [each.copy() for each in painted]
    FacePainter(SIDE, added, 2)(together, painted, poses)
    assert calls == [(2, PLANES, SIDE, SIDE)] * 2  # four heads are known
    for t, (before, after) in enumerate(zip(painted, together, strict=True)):
        alone = [before.copy()]
        FacePainter(SIDE, added, 2)(alone, [before], poses[t : t + 1])
        assert np.array_equal(alone[0], after)
        changed = (before != after).any(axis=2)
        assert not (before != after)[..., 3].any()
        area = face_area(poses[t], SIDE, HEIGHT, WIDTH)
        if area is None:
            assert t == 3
            assert not changed.any()
            continue
        own = before[area][..., 3] > MIXED
        assert changed[area][own].mean() > 0.5
        assert not changed[area][~own].any()  # what is mixed with the background
        changed[area] = False
        assert not changed.any()
        assert 0.0 <= after.min() <= after.max() <= 1.0


def test_a_refiner_begins_by_adding_nothing() -> None:
    planes = torch.rand(2, PLANES, 40, 48)
    assert not FaceRefiner()(planes).any()


def test_a_picture_of_another_size_has_the_same_face() -> None:
    small, large = _pose(60, 50), enlarged(_pose(60, 50), 2)
    rows, columns = face_area(large, 2 * SIDE, 2 * HEIGHT, 2 * WIDTH) or (slice(0), slice(0))
    expected = face_area(small, SIDE, HEIGHT, WIDTH)
    assert expected is not None
    assert abs(rows.start - 2 * expected[0].start) <= 2
    assert abs(columns.start - 2 * expected[1].start) <= 2
