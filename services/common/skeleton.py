"""The skeleton: COCO-WholeBody's 133 keypoints, their ranges, names and bones.

Jin et al., "Whole-Body Human Pose Estimation in the Wild" (ECCV 2020). Indices count from 0.
"Left" and "right" are the person's own.
"""

from __future__ import annotations

import itertools
from typing import Final

KEYPOINT_COUNT: Final = 133

BODY: Final = slice(0, 17)
FEET: Final = slice(17, 23)
FACE: Final = slice(23, 91)
LEFT_HAND: Final = slice(91, 112)
RIGHT_HAND: Final = slice(112, 133)

BODY_NAMES: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
FEET_NAMES: Final = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_FINGERS: Final = ("thumb", "index", "middle", "ring", "little")
_HAND_NAMES: Final = ("wrist", *(f"{finger}_{joint}" for finger in _FINGERS for joint in range(1, 5)))

KEYPOINT_NAMES: Final = (
    *BODY_NAMES,
    *FEET_NAMES,
    *(f"face_{index}" for index in range(68)),
    *(f"left_hand_{name}" for name in _HAND_NAMES),
    *(f"right_hand_{name}" for name in _HAND_NAMES),
)

NOSE: Final = 0
LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = 1, 2, 3, 4
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
LEFT_ELBOW, RIGHT_ELBOW = 7, 8
LEFT_WRIST, RIGHT_WRIST = 9, 10
LEFT_HIP, RIGHT_HIP = 11, 12
LEFT_KNEE, RIGHT_KNEE = 13, 14
LEFT_ANKLE, RIGHT_ANKLE = 15, 16
LEFT_BIG_TOE, LEFT_SMALL_TOE, LEFT_HEEL = 17, 18, 19
RIGHT_BIG_TOE, RIGHT_SMALL_TOE, RIGHT_HEEL = 20, 21, 22

Bone = tuple[int, int]

# Drawn between two keypoints. The neck is not a COCO keypoint, so the head hangs on nose, eyes, ears and shoulders.
BODY_BONES: Final[tuple[Bone, ...]] = (
    (LEFT_SHOULDER, RIGHT_SHOULDER),
    (LEFT_SHOULDER, LEFT_ELBOW), (LEFT_ELBOW, LEFT_WRIST),
    (RIGHT_SHOULDER, RIGHT_ELBOW), (RIGHT_ELBOW, RIGHT_WRIST),
    (LEFT_SHOULDER, LEFT_HIP), (RIGHT_SHOULDER, RIGHT_HIP), (LEFT_HIP, RIGHT_HIP),
    (LEFT_HIP, LEFT_KNEE), (LEFT_KNEE, LEFT_ANKLE),
    (RIGHT_HIP, RIGHT_KNEE), (RIGHT_KNEE, RIGHT_ANKLE),
    (NOSE, LEFT_EYE), (NOSE, RIGHT_EYE), (LEFT_EYE, LEFT_EAR), (RIGHT_EYE, RIGHT_EAR),
    (LEFT_EAR, LEFT_SHOULDER), (RIGHT_EAR, RIGHT_SHOULDER),
)  # fmt: skip

FEET_BONES: Final[tuple[Bone, ...]] = (
    (LEFT_ANKLE, LEFT_HEEL), (LEFT_HEEL, LEFT_BIG_TOE), (LEFT_BIG_TOE, LEFT_SMALL_TOE),
    (RIGHT_ANKLE, RIGHT_HEEL), (RIGHT_HEEL, RIGHT_BIG_TOE), (RIGHT_BIG_TOE, RIGHT_SMALL_TOE),
)  # fmt: skip


def _hand_bones(first: int) -> tuple[Bone, ...]:
    bones: list[Bone] = []
    for finger in range(5):
        chain = [first, *(first + 1 + 4 * finger + joint for joint in range(4))]
        bones.extend(itertools.pairwise(chain))
    return tuple(bones)


LEFT_HAND_BONES: Final = _hand_bones(LEFT_HAND.start)
RIGHT_HAND_BONES: Final = _hand_bones(RIGHT_HAND.start)


def _path(first: int, last: int, *, closed: bool) -> tuple[Bone, ...]:
    indices = [FACE.start + index for index in range(first, last + 1)]
    bones = tuple(itertools.pairwise(indices))
    return (*bones, (indices[-1], indices[0])) if closed else bones


# The 68 face points in the iBUG 300-W order: contour, brows, nose, eyes, outer and inner lips.
FACE_BONES: Final[tuple[Bone, ...]] = (
    *_path(0, 16, closed=False),
    *_path(17, 21, closed=False),
    *_path(22, 26, closed=False),
    *_path(27, 30, closed=False),
    *_path(31, 35, closed=False),
    *_path(36, 41, closed=True),
    *_path(42, 47, closed=True),
    *_path(48, 59, closed=True),
    *_path(60, 67, closed=True),
)

# Index of the keypoint that takes each one's place when the picture is mirrored left to right.
_FACE_MIRROR: Final = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
MIRROR: Final[tuple[int, ...]] = (
    0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15,
    20, 21, 22, 17, 18, 19,
    *(FACE.start + index for index in _FACE_MIRROR),
    *range(RIGHT_HAND.start, RIGHT_HAND.stop),
    *range(LEFT_HAND.start, LEFT_HAND.stop),
)  # fmt: skip
