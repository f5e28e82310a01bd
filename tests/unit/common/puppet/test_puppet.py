"""Parts of known frames in known poses: what comes out is where it should be, in the right colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.camera import compose, warp
from services.common.nn.window import fit_window
from services.common.puppet import Puppet, References
from services.common.puppet.parts import FRONT, PARTS, TRUNK, covered, pose_parts, trunk_length
from services.common.skeleton import (
    FACE,
    FEET,
    LEFT_ANKLE,
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)  # fmt: skip
from tests.unit.trainer.figure import Study, make_study

SIDE = 128
LEFT_ARM = [LEFT_ELBOW, LEFT_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop)]
KNEES_AND_BELOW = [LEFT_KNEE, LEFT_KNEE + 1, LEFT_ANKLE, LEFT_ANKLE + 1, *range(FEET.start, FEET.stop)]
EYES = [NOSE + 1, NOSE + 2]
RIGHT_ARM = [RIGHT_ELBOW, RIGHT_WRIST, *range(RIGHT_HAND.start, RIGHT_HAND.stop)]
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


def _with_arms(pose: Floats, reach: float) -> Floats:
    """The pose with both arms stretched from the shoulders, sideways by so many trunks (below 0: across the body)."""
    moved, trunk = pose.copy(), trunk_length(pose[None])
    for side, shoulder, points in ((1, LEFT_SHOULDER, LEFT_ARM), (-1, RIGHT_SHOULDER, RIGHT_ARM)):
        away = np.sign(pose[LEFT_SHOULDER, 0] - pose[RIGHT_SHOULDER, 0]) * side * reach * trunk
        for rank, point in enumerate(points):
            part = min(0.5 * (rank + 1), 1.0)
            moved[point, :2] = pose[shoulder, :2] + part * np.array([away, 0.5 * trunk])
            moved[point, 2] = 1.0
    return moved


def test_forearms_before_a_part_cover_it(references: References) -> None:
    pose = references.keypoints[5]
    trunk = trunk_length(pose[None])
    across, aside = (covered(pose_parts(_with_arms(pose, reach), trunk)) for reach in (-0.4, 1.2))
    assert across[TRUNK] > 0.2
    assert aside[TRUNK] < 0.02
    assert all(found.max() <= 1.0 and not found[-1] for found in (across, aside))  # a hand is covered by nothing


def test_a_trunk_is_of_who_has_no_arms_before_it_and_all_else_of_who_stands_alike(references: References) -> None:
    """Two red references stand as they shall, with their arms before the trunk; a blue one kneels with arms apart."""
    three = _only(references, 5, 5, 5)
    pictures, keypoints = three.pictures.copy(), three.keypoints.copy()
    pictures[:2, ..., :3], pictures[2, ..., :3] = (255, 0, 0), (0, 0, 255)
    wanted = _with_arms(keypoints[2], 1.2)
    keypoints[:2] = _with_arms(keypoints[0], -0.4)
    keypoints[2] = wanted
    keypoints[2, KNEES_AND_BELOW, 0] += 1.0 * trunk_length(wanted[None])
    window = Puppet(References(pictures, keypoints), wanted[None], SIDE, SIDE)(0)

    def colour(points: list[int]) -> Floats:
        x, y = wanted[points, :2].mean(axis=0).round().astype(int)
        return window[y, x, :3]

    assert colour([LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP])[2] > 0.85
    assert colour([LEFT_KNEE, LEFT_ANKLE])[0] > 0.85


def test_what_arms_hide_of_the_trunk_is_filled_from_beside_it(references: References) -> None:
    """A reference in red, with green forearms before its trunk, performs with its arms aside."""
    pose = _with_arms(references.keypoints[5], -0.4)
    pictures = references.pictures[5:6].copy()
    pictures[0, ..., :3] = (255, 0, 0)
    posed = pose_parts(pose, trunk_length(pose[None]))
    green = np.zeros((SIDE, SIDE), np.uint8)
    for part in (part for part in FRONT if PARTS[part].name.endswith("forearm")):
        ends = [tuple(int(v) for v in end[part].round()) for end in (posed.starts, posed.ends)]
        cv2.line(green, ends[0], ends[1], 255, round(1.6 * posed.radii_px[part]))
    pictures[0, green > 0, :3] = (0, 255, 0)
    window = Puppet(References(pictures, pose[None]), _with_arms(pose, 1.2)[None], SIDE, SIDE)(0)
    x, y = pose[[LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP], :2].mean(axis=0)
    width = abs(float(pose[LEFT_HIP, 0] - pose[RIGHT_HIP, 0]))
    columns = np.abs(np.arange(SIDE) - x) < 0.4 * width
    rows = np.abs(np.arange(SIDE) - y) < 0.3 * posed.trunk_px
    assert (green[rows][:, columns] > 0).mean() > 0.1
    assert window[rows][:, columns, 1].max() < 0.2
    assert window[rows][:, columns, 0].min() > 0.7


def test_a_limb_that_is_hidden_in_the_likest_references_is_lent_by_another(references: References) -> None:
    """Two red references stand as they shall, one arm hidden; a blue one kneels, and shows it."""
    three = _only(references, 5, 5, 5)
    pictures, keypoints = three.pictures.copy(), three.keypoints.copy()
    pictures[:2], pictures[2] = (255, 0, 0, 255), (0, 0, 255, 255)
    keypoints[:] = wanted = _with_arms(keypoints[2], 1.2)
    keypoints[2, KNEES_AND_BELOW, 0] += 1.0 * trunk_length(wanted[None])
    keypoints[:2, LEFT_ARM, 2] = 0.1
    window = Puppet(References(pictures, keypoints), wanted[None], SIDE, SIDE)(0)
    for arm, channel in ((LEFT_ARM, 2), (RIGHT_ARM, 0)):
        x, y = wanted[arm[:2], :2].mean(axis=0).round().astype(int)
        assert window[y, x, channel] > 0.85
    x, y = wanted[[LEFT_KNEE, LEFT_ANKLE], :2].mean(axis=0).round().astype(int)
    assert window[y, x, 0] > 0.85


@pytest.mark.parametrize("shows_its_face", [True, False])
def test_a_head_is_lent_by_one_that_looks_the_same_way_and_shows_its_face(
    references: References, shows_its_face: bool
) -> None:
    """Two red references stand as they shall and look elsewhere; a blue one kneels and looks where it shall."""
    three = _only(references, 5, 5, 5)
    pictures, keypoints = three.pictures.copy(), three.keypoints.copy()
    pictures[:2], pictures[2] = (255, 0, 0, 255), (0, 0, 255, 255)
    keypoints[:, FACE, 2] = 1.0
    wanted = keypoints[:1].copy()
    keypoints[:2, NOSE, 0] += 0.15 * trunk_length(wanted)
    keypoints[2, KNEES_AND_BELOW, 0] += 1.0 * trunk_length(wanted)
    keypoints[2, FACE, 2] = float(shows_its_face)
    window = Puppet(References(pictures, keypoints), wanted, SIDE, SIDE)(0)
    colours = []
    for points in ([NOSE, *EYES], [LEFT_KNEE, LEFT_ANKLE]):
        x, y = wanted[0, points, :2].mean(axis=0).round().astype(int)
        colours.append(window[y, x, :3])
    assert colours[0][2 if shows_its_face else 0] > 0.85
    assert colours[1][0] > 0.85


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
