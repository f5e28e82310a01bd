"""The target's proportions: the head's size, and in the mode `limbs` all bone lengths under the source's angles.

The source's skeleton is taken apart into bones and put together again from the hips outwards, each bone along its own
direction in the picture and as foreshortened as it was, but as long as the target's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s
from services.common.body import CONFIDENT, nan_reduce

Floats = NDArray[np.float64]

# Virtual points after the 133 keypoints: the middles of hips and shoulders.
_HIPS, _SHOULDERS = s.KEYPOINT_COUNT, s.KEYPOINT_COUNT + 1
_FULL_LENGTH_PERCENTILE = 85.0
_RATIO_LIMITS = (0.6, 1.6)  # people do not differ more: beyond is a bone that was never seen at its length
_MINIMUM_SAMPLES = 8

# One entry a kind of bone: (parent, child) of both sides, whose lengths are pooled.
_BONES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((_HIPS, s.LEFT_HIP), (_HIPS, s.RIGHT_HIP)),
    ((_HIPS, _SHOULDERS),),
    ((_SHOULDERS, s.LEFT_SHOULDER), (_SHOULDERS, s.RIGHT_SHOULDER)),
    ((_SHOULDERS, s.NOSE),),
    ((s.LEFT_SHOULDER, s.LEFT_ELBOW), (s.RIGHT_SHOULDER, s.RIGHT_ELBOW)),
    ((s.LEFT_ELBOW, s.LEFT_WRIST), (s.RIGHT_ELBOW, s.RIGHT_WRIST)),
    ((s.LEFT_HIP, s.LEFT_KNEE), (s.RIGHT_HIP, s.RIGHT_KNEE)),
    ((s.LEFT_KNEE, s.LEFT_ANKLE), (s.RIGHT_KNEE, s.RIGHT_ANKLE)),
)
# The height of the face, from between the eyes to the chin: as long in profile as seen from before, which nothing
# between nose, eyes and ears is.
_BRIDGE, _CHIN = s.FACE.start + 27, s.FACE.start + 8
# Parts that move rigidly with one joint, and the pairs of points that measure each part's size.
_RIGID: tuple[tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]], ...] = (
    (s.NOSE, (1, 2, 3, 4, *range(s.FACE.start, s.FACE.stop)), ((_BRIDGE, _CHIN),)),
    (s.LEFT_ANKLE, (17, 18, 19), ((s.LEFT_HEEL, s.LEFT_BIG_TOE), (s.RIGHT_HEEL, s.RIGHT_BIG_TOE))),
    (s.RIGHT_ANKLE, (20, 21, 22), ((s.LEFT_HEEL, s.LEFT_BIG_TOE), (s.RIGHT_HEEL, s.RIGHT_BIG_TOE))),
    (s.LEFT_WRIST, tuple(range(s.LEFT_HAND.start, s.LEFT_HAND.stop)), ((s.LEFT_ELBOW, s.LEFT_WRIST),
                                                                       (s.RIGHT_ELBOW, s.RIGHT_WRIST))),
    (s.RIGHT_WRIST, tuple(range(s.RIGHT_HAND.start, s.RIGHT_HAND.stop)), ((s.LEFT_ELBOW, s.LEFT_WRIST),
                                                                          (s.RIGHT_ELBOW, s.RIGHT_WRIST))),
)  # fmt: skip

_HEAD = 0  # of the rigid parts


def relative_lengths(keypoints: NDArray[np.float32], heights: Floats) -> tuple[Floats, Floats]:
    """A body's proportions: bones (8,) and rigid parts (5,), each as a fraction of the body's height, NaN if unseen.

    keypoints: float32 (T, 133, 3) of valid frames. heights: (T,), px, the body's height at each frame's distance.
    """
    points, confidence = _with_middles(keypoints)
    bones = [_length(points, confidence, heights, pairs) for pairs in _BONES]
    parts = [_length(points, confidence, heights, pairs) for _, _, pairs in _RIGID]
    return np.array(bones), np.array(parts)


def rebuild(
    keypoints: NDArray[np.float32],
    scale: Floats,
    source: tuple[Floats, Floats],
    target: tuple[Floats, Floats],
) -> Floats:
    """Places (T, 133, 2) about the hips' middle of the rebuilt skeleton, px; the caller puts it on the floor.

    keypoints: float32 (T, 133, 3), the source's. scale: (T,), target px for a source px. source, target: what
    `relative_lengths` gave. Unknown keypoints come out meaningless; their confidence stays 0.
    """
    points, confidence = _with_middles(keypoints)
    bone_ratios, part_ratios = (_ratios(mine, theirs) for mine, theirs in zip(source, target, strict=True))
    # A joint whose parent is unknown hangs on the nearest known one towards the hips, at the plain scale.
    rebuilt = (points - points[:, [_HIPS]]) * scale[:, None, None]
    for ratio, pairs in zip(bone_ratios, _BONES, strict=True):
        for parent, child in pairs:
            _attach(rebuilt, points, confidence, parent, [child], ratio * scale)
    for ratio, (joint, members, _) in zip(part_ratios, _RIGID, strict=True):
        _attach(rebuilt, points, confidence, joint, list(members), ratio * scale)
    return rebuilt[:, : s.KEYPOINT_COUNT]


def with_head(
    places: Floats, keypoints: NDArray[np.float32], source: tuple[Floats, Floats], target: tuple[Floats, Floats]
) -> Floats:
    """The places (T, 133, 2) of a source's skeleton with a head of the target's size, about the nose.

    keypoints: float32 (T, 133, 3), the source's, for what is known. source, target: what `relative_lengths` gave.
    """
    joint, members, _ = _RIGID[_HEAD]
    ratio = _ratios(source[1], target[1])[_HEAD]
    result = places.copy()
    confidence = keypoints[..., 2].astype(np.float64)
    _attach(result, places, confidence, joint, list(members), np.full(len(places), ratio))
    return result


def _attach(
    rebuilt: Floats, points: Floats, confidence: Floats, parent: int, children: Sequence[int], scale: Floats
) -> None:
    moved = rebuilt[:, [parent]] + (points[:, children] - points[:, [parent]]) * scale[:, None, None]
    known = (confidence[:, parent] > 0)[:, None, None]
    rebuilt[:, children] = np.where(known, moved, rebuilt[:, children])


def _ratios(source: Floats, target: Floats) -> Floats:
    """How much longer, beside the bodies' heights, each of the target's bones is; 1 where either was not seen."""
    ratio = target / source
    return np.where(np.isfinite(ratio), np.clip(ratio, *_RATIO_LIMITS), 1.0)


def _length(points: Floats, confidence: Floats, heights: Floats, pairs: Sequence[tuple[int, int]]) -> float:
    parents, children = (list(side) for side in zip(*pairs, strict=True))
    lengths = np.hypot(*np.moveaxis(points[:, children] - points[:, parents], -1, 0)) / heights[:, None]
    sure = np.minimum(confidence[:, parents], confidence[:, children]) >= CONFIDENT
    if sure.sum() < _MINIMUM_SAMPLES:
        return float("nan")
    return float(nan_reduce("percentile", lengths[sure], q=_FULL_LENGTH_PERCENTILE))


def _with_middles(keypoints: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Places (T, 135, 2) and confidences (T, 135): the keypoints, then the middles of hips and shoulders."""
    xy, confidence = keypoints[:, :, :2].astype(np.float64), keypoints[:, :, 2].astype(np.float64)
    hips, shoulders = [s.LEFT_HIP, s.RIGHT_HIP], [s.LEFT_SHOULDER, s.RIGHT_SHOULDER]
    middles = np.stack([xy[:, hips].mean(axis=1), xy[:, shoulders].mean(axis=1)], axis=1)
    sure = np.stack([confidence[:, hips].min(axis=1), confidence[:, shoulders].min(axis=1)], axis=1)
    return np.concatenate([xy, middles], axis=1), np.concatenate([confidence, sure], axis=1)
