"""Measures of a body that its pose does not change: chains of bone lengths, in the picture's pixels."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s

Floats = NDArray[np.float64]

CONFIDENT: Final = 0.3
"""Below this confidence a keypoint does not take part in measures."""


def known_points(keypoints: NDArray[np.float32], minimum: float = CONFIDENT) -> Floats:
    """float64 (..., 133, 2): places in px, NaN where the confidence is below `minimum`."""
    points = keypoints[..., :2].astype(np.float64)
    points[keypoints[..., 2] < minimum] = np.nan
    return points


def bone_lengths(keypoints: NDArray[np.float32]) -> dict[str, Floats]:
    """Lengths (T,) in px of head (nose to mid-shoulders), trunk, thigh and shin; NaN where unknown.

    Of the two thighs (shins) of a frame the longer counts: foreshortening only ever shortens.
    """
    points = known_points(keypoints)
    shoulders = (points[:, s.LEFT_SHOULDER] + points[:, s.RIGHT_SHOULDER]) / 2
    hips = (points[:, s.LEFT_HIP] + points[:, s.RIGHT_HIP]) / 2

    def longer(left: tuple[int, int], right: tuple[int, int]) -> Floats:
        both = np.stack([np.hypot(*(points[:, a] - points[:, b]).T) for a, b in (left, right)])
        return nan_reduce("max", both)

    return {
        "head": np.hypot(*(points[:, s.NOSE] - shoulders).T),
        "trunk": np.hypot(*(shoulders - hips).T),
        "thigh": longer((s.LEFT_HIP, s.LEFT_KNEE), (s.RIGHT_HIP, s.RIGHT_KNEE)),
        "shin": longer((s.LEFT_KNEE, s.LEFT_ANKLE), (s.RIGHT_KNEE, s.RIGHT_ANKLE)),
    }


def chain_heights(keypoints: NDArray[np.float32]) -> Floats:
    """Nose-to-ankle height in px of each frame of (T, 133, 3) keypoints, as the sum of the bones between.

    Unlike the distance from nose to ankle it stays the same in a crouch, a kick or a bow. NaN where a bone is unknown.
    """
    return np.asarray(np.sum(list(bone_lengths(keypoints).values()), axis=0), dtype=np.float64)


def nan_reduce(how: str, values: Floats, axis: int = 0, q: float = 50.0) -> Floats:
    """max, median or percentile that leaves NaN where there is nothing to reduce, silently."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        if how == "max":
            return np.asarray(np.nanmax(values, axis=axis), dtype=np.float64)
        return np.asarray(np.nanpercentile(values, q, axis=axis), dtype=np.float64)
