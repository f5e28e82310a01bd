"""Keeps the driven dancer inside the target's picture and on the target's floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s
from services.common.body import CONFIDENT
from services.common.tracks import PoseTrack

Floats = NDArray[np.float64]

_SMALLEST = 0.9  # rather than shrink the dancer further, raised hands may leave the picture
# So many percent of the frames may leave at the top and at the bottom: one stretched hand must not shrink the dance.
_LEAVING_TOP, _LEAVING_BOTTOM = 4.0, 1.0
# Below this share of the way across the floor feet slide, so rather a hand leaves the picture; a trunk does not.
_LEAST_TRAVEL = 0.25
_TRUNK = [s.LEFT_SHOULDER, s.RIGHT_SHOULDER, s.LEFT_HIP, s.RIGHT_HIP]
_LEAVING_BESIDE = 1.0  # so many percent of the frames at each side may, or one mistake would hold the dance in place


@dataclass(frozen=True)
class Bounds:
    """Where the driven keypoints may be, px: the frame, and beyond it what the target itself habitually takes."""

    left: float
    top: float
    right: float
    bottom: float


def bounds_of(target: PoseTrack) -> Bounds:
    """Bounds from the target's track: the frame, widened where most of the target's own frames leave it."""
    known = (target.keypoints[:, :, 2] >= CONFIDENT) & target.valid[:, None]
    x, y = np.moveaxis(target.keypoints[:, :, :2].astype(np.float64), -1, 0)
    some = known.any(axis=1)
    if not some.any():
        return Bounds(0.0, 0.0, target.width - 1.0, target.height - 1.0)

    def typical(values: Floats, sign: int) -> float:
        extreme = np.where(known, sign * values, -np.inf).max(axis=1)[some]
        return sign * float(np.median(extreme))

    return Bounds(
        left=min(0.0, typical(x, -1)),
        top=min(0.0, typical(y, -1)),
        right=max(target.width - 1.0, typical(x, 1)),
        bottom=max(target.height - 1.0, typical(y, 1)),
    )


def shrink_to_top(places: Floats, confidence: NDArray[np.float32], floor: Floats, bounds: Bounds) -> float:
    """Factor (at most 1) about the floor that brings heads and hands under the frame's upper edge.

    places: (F, 133, 2) of valid frames, px. confidence: (F, 133). floor: (F,), y of the floor.
    """
    y = np.where(confidence >= CONFIDENT, places[:, :, 1], np.inf)
    reach = floor - y.min(axis=1)
    room = floor - bounds.top
    usable = np.isfinite(reach) & (reach > 0) & (room > 0)
    if not usable.any():
        return 1.0
    factor = np.percentile(room[usable] / reach[usable], _LEAVING_TOP)
    return float(np.clip(factor, _SMALLEST, 1.0))


def keep_beside(places: Floats, confidence: NDArray[np.float32], x: Floats, bounds: Bounds) -> tuple[Floats, str]:
    """Horizontal offsets (F,) that bring the dance between the bounds, and a word for the user ("" if none).

    The whole dance is shifted when that is enough; else its travel across the floor is compressed as well: to a quarter
    for hands and feet, further only for the trunk. x: (F,), where the dancer stands.
    """
    left, right = _sides(places, confidence)
    usable = np.isfinite(left)
    if not usable.any():
        return np.zeros(len(x)), ""
    room = bounds.right - bounds.left
    travel = x - float(np.median(x))
    share = _travel_share(travel[usable], left[usable], right[usable], room, _LEAST_TRAVEL)
    offset = (share - 1.0) * travel
    low, high = (left + offset)[usable].min(), (right + offset)[usable].max()
    if high - low <= room:
        word = f"the travel across the floor was compressed to {share:.0%} to stay in the picture" if share < 1 else ""
        return offset + _shift(low, high, bounds), word
    trunk_left, trunk_right = _sides(places[:, _TRUNK], confidence[:, _TRUNK])
    seen = np.isfinite(trunk_left)
    if not seen.any():
        return offset + _shift(low, high, bounds), "the dance is wider than the target's picture"
    share = min(share, _travel_share(travel[seen], trunk_left[seen], trunk_right[seen], room, 0.0, _LEAVING_BESIDE))
    offset = (share - 1.0) * travel
    offset += _shift((left + offset)[usable].min(), (right + offset)[usable].max(), bounds)
    ends = _ends((trunk_left + offset)[seen], (trunk_right + offset)[seen], _LEAVING_BESIDE)
    word = f"the dance is wider than the target's picture: its travel was compressed to {share:.0%}"
    return offset + _shift(*ends, bounds), word


def _sides(places: Floats, confidence: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """The leftmost and the rightmost known x of each frame, (F,) each; where nothing is known inf and -inf."""
    known = confidence >= CONFIDENT
    return np.where(known, places[..., 0], np.inf).min(axis=1), np.where(known, places[..., 0], -np.inf).max(axis=1)


def _shift(low: float, high: float, bounds: Bounds) -> float:
    """What brings [low, high] between the bounds; what is wider has its middle in theirs."""
    if high - low > bounds.right - bounds.left:
        return (bounds.left + bounds.right - low - high) / 2
    return max(0.0, bounds.left - low) + min(0.0, bounds.right - high)


def _ends(left: Floats, right: Floats, leaving: float) -> tuple[float, float]:
    """Between which all lies but for `leaving` percent of the frames at each side."""
    return float(np.percentile(left, leaving)), float(np.percentile(right, 100.0 - leaving))


def _travel_share(
    travel: Floats, left: Floats, right: Floats, room: float, least: float, leaving: float = 0.0
) -> float:
    """Largest share of the travel, `least`..1, whose dance still fits into the room.

    travel: (F,), how far from its middle the dance is. left, right: (F,), the sides of what has to fit.
    """

    def width(share: float) -> float:
        offset = (share - 1.0) * travel
        low, high = _ends(left + offset, right + offset, leaving)
        return high - low

    if width(1.0) <= room:
        return 1.0
    low, high = least, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if width(middle) <= room else (low, middle)
    return low


def keep_above(places: Floats, confidence: NDArray[np.float32], bounds: Bounds) -> float:
    """Vertical offset (at most 0), px, that keeps the feet above the lower bound."""
    feet = [s.LEFT_ANKLE, s.RIGHT_ANKLE, *range(s.FEET.start, s.FEET.stop)]
    y = np.where(confidence[:, feet] >= CONFIDENT, places[:, feet, 1], -np.inf).max(axis=1)
    y = y[np.isfinite(y)]
    return float(min(0.0, bounds.bottom - np.percentile(y, 100.0 - _LEAVING_BOTTOM))) if y.size else 0.0
