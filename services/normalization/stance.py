"""Where and how large a person stands in each frame of a clip, and at the two ends of the floor they use.

Chan et al., "Everybody Dance Now" (ICCV 2019), appendix: the ankles' height in the picture says how far away somebody
stands, the head-to-ankle height how large they are there. Two things are measured otherwise than in the paper, to the
same numbers when both feet are on the floor: the foot level is that of the feet that carry the weight, so that a
lifted leg or a jump is not a step away from the camera; and the height is a sum of bones, so that a crouch is not a
shrinking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s
from services.common.body import bone_lengths, chain_heights, known_points, nan_reduce
from services.common.tracks import PoseTrack

Floats = NDArray[np.float64]

ALPHA: Final = 0.7
"""The paper's band about the median foot level, as a fraction of the way from there to the near end."""

STATIC_DEPTH: Final = 0.05
"""Below this use of the floor, in heights, somebody does not walk towards or away from the camera."""

_STEP_SECONDS = 0.3  # within this time of any moment somebody who dances touches the floor
_LEVEL_SIGMA_SECONDS = 0.2
_NEAR_END_PERCENTILE = 98.0  # "max", but one bad frame does not make the near end
_END_SHARE = 0.2  # of the frames: those nearest an end of the floor measure the height there
_FULL_LENGTH_PERCENTILE = 80.0  # foreshortening only shortens: a high percentile is the bone's own length
_LEG_TO_TRUNK = 1.65  # hip to ankle over shoulder to hip, of an adult: used when no leg is ever seen


@dataclass(frozen=True)
class Stance:
    """A person's standing in a clip, px of the track's frame.

    level: float64 (T,): y of the floor under the feet (at the ankles). x: float64 (T,): middle of the feet.
    close, far: levels at the two ends of the floor; middle: median level. height_close, height_far, height: nose to
    ankle at the ends, and over all. centre_x: median of x. feet_seen: whether ankles were ever visible.
    """

    level: Floats
    x: Floats
    close: float
    far: float
    middle: float
    height_close: float
    height_far: float
    height: float
    centre_x: float
    feet_seen: bool

    @property
    def depth(self) -> float:
        """How much of the floor is used towards and away from the camera, in heights."""
        return (self.close - self.far) / self.height

    def height_at(self, level: Floats) -> Floats:
        """Nose-to-ankle height at these levels, between the ends' heights."""
        if self.close - self.far <= 0:
            return np.full_like(level, self.height)
        share = np.clip((level - self.far) / (self.close - self.far), -0.5, 1.5)
        return np.asarray(self.height_far + share * (self.height_close - self.height_far), dtype=np.float64)


def measure(track: PoseTrack, frame_rate: float) -> Stance:
    """The stance of a track with at least one valid frame. Every valid frame counts; none is drawn at random."""
    keypoints = np.where(track.valid[:, None, None], track.keypoints, np.float32(0))
    heights = _heights(keypoints)
    height = float(nan_reduce("percentile", heights, q=_FULL_LENGTH_PERCENTILE))
    lowest, x, feet_seen = _feet(keypoints, height)
    level = _floor_level(lowest, track.valid, frame_rate)
    used = level[track.valid]
    middle = float(np.median(used))
    close = float(np.percentile(used, _NEAR_END_PERCENTILE))
    # The paper's band is as wide as the way to the near end; somebody who spends most of the clip there has none.
    width = ALPHA * max(close - middle, middle - float(np.percentile(used, 100 - _NEAR_END_PERCENTILE)))
    band = used[(used <= middle) & (middle - used <= width)]
    far = float(band.min()) if band.size else middle
    height_close, height_far = height, height
    if close - far >= STATIC_DEPTH * height:
        near = _height_near(heights[track.valid], used, close, height)
        distant = _height_near(heights[track.valid], used, far, height)
        # Whoever is nearer is taller in the picture; a measure that says otherwise measured a crouch.
        if near >= distant:
            height_close, height_far = near, distant
    return Stance(
        level=level,
        x=x,
        close=close,
        far=far,
        middle=middle,
        height_close=height_close,
        height_far=height_far,
        height=height,
        centre_x=float(np.median(x[track.valid])),
        feet_seen=feet_seen,
    )


def _heights(keypoints: NDArray[np.float32]) -> Floats:
    """Nose-to-ankle height of each frame; where the legs are not seen in any, from the trunk."""
    heights = chain_heights(keypoints)
    if np.isfinite(heights).any():
        return heights
    trunk = bone_lengths(keypoints)["trunk"]
    if not np.isfinite(trunk).any():
        points = known_points(keypoints, 1e-6)
        trunk = nan_reduce("max", points[:, : s.FEET.stop, 1], axis=1)
        trunk = (trunk + nan_reduce("max", -points[:, : s.FEET.stop, 1], axis=1)) / 3
    # Head and neck are about half of a trunk again.
    return np.asarray(trunk * (1.5 + _LEG_TO_TRUNK), dtype=np.float64)


def _feet(keypoints: NDArray[np.float32], height: float) -> tuple[Floats, Floats, bool]:
    """y of the lower ankle (T,) and x between the ankles (T,), both without holes; whether ankles were seen at all."""
    points = known_points(keypoints)
    ankles = points[:, [s.LEFT_ANKLE, s.RIGHT_ANKLE]]
    lowest = nan_reduce("max", ankles[:, :, 1], axis=1)
    x = ankles[:, :, 0].mean(axis=1)
    hips = points[:, [s.LEFT_HIP, s.RIGHT_HIP]]
    hips_x = nan_reduce("percentile", hips[:, :, 0], axis=1)
    seen = bool(np.isfinite(lowest).any())
    if not seen:
        leg = height * _LEG_TO_TRUNK / (1.5 + _LEG_TO_TRUNK)
        lowest = nan_reduce("max", hips[:, :, 1], axis=1) + leg
    x = np.where(np.isfinite(x), x, hips_x)
    return _without_holes(lowest), _without_holes(x), seen


def _without_holes(values: Floats) -> Floats:
    known = np.flatnonzero(np.isfinite(values))
    if known.size == 0:
        return np.zeros_like(values)
    return np.asarray(np.interp(np.arange(len(values)), known, values[known]), dtype=np.float64)


def _floor_level(lowest: Floats, valid: NDArray[np.bool_], frame_rate: float) -> Floats:
    """The lower envelope of the feet: the largest y within a step's time, smoothed."""
    reach = round(_STEP_SECONDS * frame_rate)
    held = np.where(valid, lowest, -np.inf)
    if not valid.any():
        return lowest
    padded = np.pad(held, reach, constant_values=-np.inf)
    envelope = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    envelope = _without_holes(np.where(np.isfinite(envelope), envelope, np.nan))
    sigma = _LEVEL_SIGMA_SECONDS * frame_rate
    half = max(1, round(3 * sigma))
    bell = np.exp(-((np.arange(-half, half + 1) / max(sigma, 1e-6)) ** 2) / 2)
    smooth = np.convolve(np.pad(envelope, half, mode="edge"), bell / bell.sum(), mode="valid")
    return np.asarray(smooth, dtype=np.float64)


def _height_near(heights: Floats, levels: Floats, end: float, fallback: float) -> float:
    nearest = np.argsort(np.abs(levels - end), kind="stable")[: max(1, round(_END_SHARE * len(levels)))]
    height = float(nan_reduce("percentile", heights[nearest], q=_FULL_LENGTH_PERCENTILE))
    return height if np.isfinite(height) else fallback
