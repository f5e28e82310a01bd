"""Parts of known frames in known poses: what comes out is where it should be, in the right colours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.camera import compose, warp
from services.common.nn.window import fit_window
from services.common.puppet import Puppet, References
from services.common.skeleton import LEFT_ELBOW, LEFT_HAND, LEFT_WRIST, NOSE
from tests.unit.trainer.figure import Study, make_study

SIDE = 128
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(40, 320, 240)


@pytest.fixture(scope="module")
def references(study: Study) -> References:
    registered = study.track.transformed(study.camera.matrices)
    window = fit_window(registered, SIDE)
    pictures = []
    for t, picture, matte in study:
        matrix = compose(window.matrices[t], study.camera.matrices[t])
        pictures.append(np.dstack([warp(picture, matrix, (SIDE, SIDE)), warp(matte, matrix, (SIDE, SIDE))]))
    return References(np.stack(pictures), window.keypoints(registered))


def _only(references: References, *rows: int) -> References:
    return References(references.pictures[list(rows)], references.keypoints[list(rows)])


def test_its_own_pose_gives_the_picture_back(references: References) -> None:
    window = Puppet(_only(references, 5), references.keypoints[5:6], SIDE, SIDE)(0)
    truth = references.pictures[5].astype(np.float32) / 255.0
    inside = truth[..., 3] > 0.9
    assert np.abs(window[..., 3] - truth[..., 3]).mean() < 0.02
    assert np.abs(window[inside][:, :3] - truth[inside][:, :3]).mean() < 0.03


def test_an_arm_that_is_raised_goes_where_its_bones_go(references: References) -> None:
    row = 5
    pose = references.keypoints[row : row + 1].copy()
    elbow = pose[0, LEFT_ELBOW, :2].copy()
    moved = [LEFT_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop)]
    across = pose[0, moved, :2] - elbow
    pose[0, moved, :2] = elbow + np.stack([-across[:, 1], across[:, 0]], axis=1)  # a quarter turn about the elbow
    window = Puppet(_only(references, row), pose, SIDE, SIDE)(0)
    middle = (pose[0, LEFT_WRIST, :2] + elbow) / 2
    before = (references.keypoints[row, LEFT_WRIST, :2] + elbow) / 2
    at = (round(middle[1]), round(middle[0]))
    assert window[at][3] > 0.8
    assert np.abs(window[at][:3] * 255 - (200, 60, 60)).max() < 40  # the forearm's red
    assert window[round(before[1]), round(before[0]), 3] < 0.3  # and no longer where it was


def test_the_face_is_of_who_looks_the_same_way(references: References) -> None:
    """Two references of one pose, one red and looking left, one blue and looking right."""
    pair = _only(references, 5, 5)
    pictures, keypoints = pair.pictures.copy(), pair.keypoints.copy()
    pictures[0, ..., :3], pictures[1, ..., :3] = (255, 0, 0), (0, 0, 255)
    keypoints[0, NOSE, 0] -= 2.0
    keypoints[1, NOSE, 0] += 2.0
    nose = tuple(references.keypoints[5, NOSE, 1::-1].round().astype(int))
    for looks, colour in ((0, 0), (1, 2)):
        window = Puppet(References(pictures, keypoints), keypoints[looks : looks + 1], SIDE, SIDE)(0)
        assert window[nose][colour] > 0.85


def test_of_two_limbs_that_are_turned_far_the_nearer_one_is_taken(references: References) -> None:
    pair = _only(references, 5, 5)
    pictures, keypoints = pair.pictures.copy(), pair.keypoints.copy()
    pictures[0, ..., :3], pictures[1, ..., :3] = (255, 0, 0), (0, 0, 255)
    elbow = keypoints[0, LEFT_ELBOW, :2].copy()
    moved = [LEFT_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop)]
    wanted = keypoints[:1].copy()
    for pose, degrees in ((keypoints[0], 100.0), (keypoints[1], 170.0)):
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        pose[moved, :2] = elbow + (pose[moved, :2] - elbow) @ np.array([[cos, sin], [-sin, cos]])
    window = Puppet(References(pictures, keypoints), wanted, SIDE, SIDE)(0)
    middle = (wanted[0, LEFT_WRIST, :2] + elbow) / 2
    assert window[round(middle[1]), round(middle[0]), 0] > 0.85


def test_a_frame_does_not_depend_on_what_else_is_asked_for(references: References) -> None:
    poses = references.keypoints[20:30]
    few = _only(references, 0, 4, 8, 12)
    forward = [Puppet(few, poses, SIDE, SIDE)(t) for t in range(10)]
    puppet = Puppet(few, poses, SIDE, SIDE)
    for t in (9, 3, 7):
        assert np.array_equal(puppet(t), forward[t])


def test_better_than_nothing_on_poses_it_has_not_seen(references: References) -> None:
    known, unseen = list(range(30)), range(30, 40)
    puppet = Puppet(_only(references, *known), references.keypoints[30:40], SIDE, SIDE)
    errors = []
    for t in unseen:
        truth = references.pictures[t].astype(np.float32) / 255.0
        inside = truth[..., 3] > 0.5
        window = puppet(t - 30)
        errors.append(np.abs(window[inside][:, :3] * window[inside][:, 3:] - truth[inside][:, :3]).mean())
    assert np.mean(errors) < 0.12


def test_points_that_are_not_known_leave_the_rest(references: References) -> None:
    pose = references.keypoints[5:6].copy()
    pose[0, LEFT_HAND] = 0.0
    pose[0, LEFT_WRIST] = 0.0
    window = Puppet(_only(references, 5), pose, SIDE, SIDE)(0)
    assert np.isfinite(window).all()
    trunk = pose[0, [5, 6, 11, 12], :2].mean(axis=0).round().astype(int)
    assert window[trunk[1], trunk[0], 3] > 0.9


def test_references_say_what_they_want() -> None:
    with pytest.raises(ValueError, match="pictures must be"):
        References(np.zeros((0, 8, 8, 4), np.uint8), np.zeros((0, 133, 3), np.float32))
    with pytest.raises(ValueError, match="dtypes must be"):
        References(np.zeros((1, 8, 8, 4), np.float32), np.zeros((1, 133, 3), np.float32))
