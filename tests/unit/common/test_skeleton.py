"""The skeleton: COCO-WholeBody's order, its bones, and its mirror image."""

from __future__ import annotations

import itertools

import pytest

from services.common import skeleton
from services.common.skeleton import KEYPOINT_COUNT, KEYPOINT_NAMES, MIRROR

PARTS = (skeleton.BODY, skeleton.FEET, skeleton.FACE, skeleton.LEFT_HAND, skeleton.RIGHT_HAND)
BONES = {
    "body": (skeleton.BODY_BONES, 0, 17),
    "feet": (skeleton.FEET_BONES, 0, 23),
    "face": (skeleton.FACE_BONES, 23, 91),
    "left hand": (skeleton.LEFT_HAND_BONES, 91, 112),
    "right hand": (skeleton.RIGHT_HAND_BONES, 112, 133),
}
ALL_BONES = [bone for bones, _, _ in BONES.values() for bone in bones]


def test_parts_follow_each_other_without_gap() -> None:
    assert [(part.start, part.stop) for part in PARTS] == [(0, 17), (17, 23), (23, 91), (91, 112), (112, 133)]
    assert PARTS[-1].stop == KEYPOINT_COUNT


def test_names_are_unique_and_in_order() -> None:
    assert len(set(KEYPOINT_NAMES)) == len(KEYPOINT_NAMES) == KEYPOINT_COUNT
    for index, name in {0: "nose", 5: "left_shoulder", 16: "right_ankle", 17: "left_big_toe", 22: "right_heel",
                        23: "face_0", 91: "left_hand_wrist", 95: "left_hand_thumb_4",
                        132: "right_hand_little_4"}.items():  # fmt: skip
        assert KEYPOINT_NAMES[index] == name


@pytest.mark.parametrize("name", [name for name in vars(skeleton) if name.lower() in KEYPOINT_NAMES])
def test_constants_are_the_indices_of_their_names(name: str) -> None:
    assert KEYPOINT_NAMES[getattr(skeleton, name)] == name.lower()


@pytest.mark.parametrize("part", BONES)
def test_bones_join_keypoints_of_their_part_once(part: str) -> None:
    bones, first, stop = BONES[part]
    assert all(first <= end < stop for bone in bones for end in bone)
    assert len({frozenset(bone) for bone in bones}) == len(bones)
    assert all(a != b for a, b in bones)


def test_every_keypoint_but_none_is_in_a_bone() -> None:
    assert {end for bone in ALL_BONES for end in bone} == set(range(KEYPOINT_COUNT))


def test_fingers_are_chains_from_the_wrist() -> None:
    for bones, wrist in ((skeleton.LEFT_HAND_BONES, 91), (skeleton.RIGHT_HAND_BONES, 112)):
        assert len(bones) == 20
        chains = [bones[4 * finger : 4 * finger + 4] for finger in range(5)]
        assert all(chain[0][0] == wrist for chain in chains)
        assert all(one[1] == two[0] for chain in chains for one, two in itertools.pairwise(chain))


def test_the_mirror_undoes_itself() -> None:
    assert sorted(MIRROR) == list(range(KEYPOINT_COUNT))
    assert [MIRROR[MIRROR[index]] for index in range(KEYPOINT_COUNT)] == list(range(KEYPOINT_COUNT))


def test_the_mirror_swaps_left_and_right() -> None:
    for index, name in enumerate(KEYPOINT_NAMES):
        if name.startswith("face_"):
            assert KEYPOINT_NAMES[MIRROR[index]].startswith("face_")
        else:
            swapped = {"left": "right", "right": "left"}.get(name.partition("_")[0])
            expected = f"{swapped}_{name.partition('_')[2]}" if swapped else name
            assert KEYPOINT_NAMES[MIRROR[index]] == expected


def test_the_mirror_of_a_bone_is_a_bone() -> None:
    drawn = {frozenset(bone) for bone in ALL_BONES}
    assert {frozenset((MIRROR[a], MIRROR[b])) for a, b in ALL_BONES} == drawn
