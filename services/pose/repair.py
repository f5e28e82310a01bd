"""Repairs of a raw track: limbs whose left and right were mixed up, joints that jumped, short gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s

Keypoints = NDArray[np.float32]

FILL_SECONDS = 0.25
"""Longest gap that is filled between its ends."""

# Below this rate limbs really move as far between two frames as a mistake would, so jumps prove nothing.
_JUMPS_MEAN_MISTAKES_FPS = 12.0
_UNKNOWN = 0.05
_FILLED_CONFIDENCE = 0.5  # of the less sure end of the gap
_LARGEST_STEP = 0.6  # of the body's size: a gap whose ends lie farther apart is no gap of one motion

_LEGS = ((s.LEFT_HIP, s.RIGHT_HIP), (s.LEFT_KNEE, s.RIGHT_KNEE), (s.LEFT_ANKLE, s.RIGHT_ANKLE),
         (s.LEFT_BIG_TOE, s.RIGHT_BIG_TOE), (s.LEFT_SMALL_TOE, s.RIGHT_SMALL_TOE),
         (s.LEFT_HEEL, s.RIGHT_HEEL))  # fmt: skip
_ARMS = ((s.LEFT_SHOULDER, s.RIGHT_SHOULDER), (s.LEFT_ELBOW, s.RIGHT_ELBOW), (s.LEFT_WRIST, s.RIGHT_WRIST),
         *zip(range(s.LEFT_HAND.start, s.LEFT_HAND.stop), range(s.RIGHT_HAND.start, s.RIGHT_HAND.stop),
              strict=True))  # fmt: skip
_JUDGES = 3  # the first pairs of each limb group decide, the others follow
_SWAP_COST = 0.05  # body sizes, for each change between as-is and swapped
_SWAPPED_COST_PER_SECOND = 0.4  # body sizes: long stays in the swapped state must be worth it

_JUMP_MINIMUM = 0.06  # of the body's size
_JUMP_RATIO = 2.0  # how much farther from its neighbours' middle than they are from each other


def unswap_limbs(
    keypoints: Keypoints, valid: NDArray[np.bool_], size_px: float, frame_rate: float
) -> tuple[Keypoints, int]:
    """Exchanges left and right of arms or legs where only that makes the motion continuous.

    A two-state shortest path over the valid frames (as is, or exchanged): the cost is the way that the joints travel.
    Returns the keypoints and the number of frames changed.
    """
    frames = np.flatnonzero(valid)
    if frame_rate < _JUMPS_MEAN_MISTAKES_FPS or frames.size < 3:
        return keypoints, 0
    repaired = keypoints.copy()
    changed = np.zeros(len(keypoints), dtype=bool)
    for pairs in (_LEGS, _ARMS):
        left, right = (np.array(side) for side in zip(*pairs, strict=True))
        judged = keypoints[frames][:, [left[:_JUDGES], right[:_JUDGES]]]
        swapped = frames[_cheapest_states(judged, size_px, _SWAPPED_COST_PER_SECOND / frame_rate)]
        both = np.concatenate([left, right])
        repaired[np.ix_(swapped, both)] = keypoints[np.ix_(swapped, np.concatenate([right, left]))]
        changed[swapped] = True
    return repaired, int(changed.sum())


def _cheapest_states(judged: Keypoints, size_px: float, swapped_cost: float) -> NDArray[np.bool_]:
    """judged: float32 (F, 2 sides, J, 3). Returns bool (F,): whether the frame's sides must be exchanged."""
    straight = _travel(judged[:-1], judged[1:], size_px)
    crossed = _travel(judged[:-1], judged[1:, ::-1], size_px)
    count = len(judged)
    state_cost = np.array([0.0, swapped_cost])
    cost = state_cost
    came_from = np.zeros((count, 2), dtype=int)
    for frame in range(1, count):
        stay, change = straight[frame - 1], crossed[frame - 1] + _SWAP_COST
        options = np.array([[cost[0] + stay, cost[1] + change], [cost[0] + change, cost[1] + stay]])
        came_from[frame] = options.argmin(axis=1)
        cost = options.min(axis=1) + state_cost
    states = np.zeros(count, dtype=int)
    states[-1] = cost.argmin()
    for frame in range(count - 1, 0, -1):
        states[frame - 1] = came_from[frame, states[frame]]
    return states.astype(bool)


def _travel(before: Keypoints, after: Keypoints, size_px: float) -> NDArray[np.float64]:
    """Mean way of the joints between two frames in body sizes, each weighted by its confidence, capped at 1/2."""
    distance = np.hypot(*np.moveaxis(before[..., :2] - after[..., :2], -1, 0)) / size_px
    weight = np.minimum(before[..., 2], after[..., 2]) + 1e-6
    mean = (np.minimum(distance, 0.5) * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    return np.asarray(mean, dtype=np.float64)


def mend_jumps(
    keypoints: Keypoints, valid: NDArray[np.bool_], size_px: float, frame_rate: float
) -> tuple[Keypoints, int]:
    """Forgets body and foot joints that leave their path for one or two frames and come back to it.

    They become unknown, and `fill_gaps` draws through them. Returns the keypoints and the number of joints forgotten.
    """
    if frame_rate < _JUMPS_MEAN_MISTAKES_FPS:
        return keypoints, 0
    mended = keypoints.copy()
    count = 0
    joints = s.FEET.stop
    for width in (1, 2):
        for start in range(1, len(keypoints) - width):
            before, after = start - 1, start + width
            if not valid[before : after + 1].all():
                continue
            ends, inner = mended[[before, after], :joints], mended[start:after, :joints]
            sure = np.minimum(ends[:, :, 2].min(axis=0), inner[:, :, 2].min(axis=0)) >= _UNKNOWN
            apart = np.hypot(*(ends[1] - ends[0])[:, :2].T)
            off = np.hypot(*np.moveaxis(inner[:, :, :2] - ends[:, :, :2].mean(axis=0), -1, 0)).min(axis=0)
            jumped = sure & (off > _JUMP_MINIMUM * size_px) & (off > _JUMP_RATIO * apart)
            mended[start:after, :joints][:, jumped] = 0.0
            count += int(jumped.sum()) * width
    return mended, count


def fill_gaps(
    keypoints: Keypoints, valid: NDArray[np.bool_], size_px: float, frame_rate: float
) -> tuple[Keypoints, NDArray[np.bool_]]:
    """Fills gaps of up to `FILL_SECONDS` (at least one frame), of whole frames and of single keypoints, linearly.

    Filled keypoints have half the confidence of the less sure end. Returns keypoints, and valid with the filled frames.
    """
    longest = max(1, round(FILL_SECONDS * frame_rate))
    known = valid[:, None] & (keypoints[:, :, 2] >= _UNKNOWN)
    index = np.arange(len(keypoints))[:, None]
    before = np.maximum.accumulate(np.where(known, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, index, len(keypoints))[::-1], axis=0)[::-1]
    inside = ~known & (before >= 0) & (after < len(keypoints)) & (after - before - 1 <= longest)
    t, k = np.nonzero(inside)
    start, end = keypoints[before[t, k], k], keypoints[after[t, k], k]
    near = np.hypot(*(end - start)[:, :2].T) <= _LARGEST_STEP * size_px
    t, k, start, end = t[near], k[near], start[near], end[near]
    share = ((t - before[t, k]) / (after[t, k] - before[t, k]))[:, None].astype(np.float32)
    filled = np.where(known[:, :, None], keypoints, np.float32(0))
    filled[t, k, :2] = start[:, :2] * (1 - share) + end[:, :2] * share
    filled[t, k, 2] = _FILLED_CONFIDENCE * np.minimum(start[:, 2], end[:, 2])
    # A lost frame counts as filled when most of what its neighbours knew of the body could be drawn through it.
    body = filled[:, s.BODY, 2] >= _UNKNOWN
    return filled, valid | (body.sum(axis=1) >= 12)
