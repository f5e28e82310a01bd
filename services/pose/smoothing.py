"""Smoothing without lag: every place is the value of a parabola fitted to its neighbours in time, before and after.

A weighted local quadratic (Savitzky and Golay 1964; Cleveland 1979): the weights are a Gaussian in time, centred on
the frame, times the squared confidence, so a joint that was lost is drawn through by the frames that saw it. Centred
means zero phase: peaks stay at their frames, where an exponential or one-euro filter would move them. A parabola
through the sure frames of one side alone may end anywhere, so no place leaves the bounds of those found nearby.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from services.common.skeleton import FACE, KEYPOINT_COUNT, LEFT_HAND, RIGHT_HAND

# Width of the Gaussian, seconds. Hands and face are found from finer crops and are lighter, so they keep more.
_BODY_SECONDS = 0.06
_FINE_SECONDS = 0.045
# Keeps the slope and curvature of a window with too few sure points near zero.
_RIDGE = 1e-3
_WINDOW_SIGMAS = 3.0
# The frames before and after, among whose places a smoothed one stays.
_NEARBY = 2
# Of the body's size. A sure keypoint that would be moved farther is left nearer to where it was found: jitter is less.
_MOST_MOVED = 0.015
# A keypoint this unsure stays unknown unless its neighbours in time know it.
_KNOWN = 0.05


def smooth(
    keypoints: NDArray[np.float32], valid: NDArray[np.bool_], size_px: float, frame_rate: float
) -> NDArray[np.float32]:
    """Smoothed keypoints, float32 (T, 133, 3); confidences are kept, invalid frames take no part and are zero.

    size_px: the body's. A fast arm turns within fewer frames than a parabola can follow, and then its own frame knows
    best: beyond 0.015 of the body's size, divided by the squared confidence, the way moved falls again, as that limit's
    square by the distance.
    """
    sigma = np.full(KEYPOINT_COUNT, _BODY_SECONDS)
    for part in (FACE, LEFT_HAND, RIGHT_HAND):
        sigma[part] = _FINE_SECONDS
    weights = np.where(valid[:, None], keypoints[:, :, 2].astype(np.float64) ** 2, 0.0)
    places = keypoints[:, :, :2].astype(np.float64)
    moved = _local_quadratic(places, weights, sigma * frame_rate) - places
    distance = np.hypot(moved[..., 0], moved[..., 1])
    most = _MOST_MOVED * size_px / np.maximum(weights, 1e-9)
    smoothed = places + moved * np.square(np.minimum(1.0, most / np.maximum(distance, 1e-9)))[:, :, None]
    known = valid[:, None] & (keypoints[:, :, 2] >= _KNOWN)
    result = np.concatenate([smoothed, keypoints[:, :, 2:].astype(np.float64)], axis=2)
    return np.where(known[:, :, None], result, 0.0).astype(np.float32)


def _local_quadratic(
    places: NDArray[np.float64], weights: NDArray[np.float64], sigma: NDArray[np.float64]
) -> NDArray[np.float64]:
    """places (T, K, 2), weights (T, K), sigma (K,) in frames. Returns (T, K, 2)."""
    frames, count = weights.shape
    reach = int(np.ceil(_WINDOW_SIGMAS * sigma.max()))
    moments = np.zeros((5, frames, count))
    sums = np.zeros((3, frames, count, 2))
    for offset in range(-reach, reach + 1):
        low, high = max(0, -offset), min(frames, frames - offset)
        if low >= high:
            continue
        bell = np.exp(-((offset / np.maximum(sigma, 1e-6)) ** 2) / 2)
        weight = weights[low + offset : high + offset] * bell
        place = places[low + offset : high + offset]
        for power in range(5):
            moments[power, low:high] += weight * offset**power
        for power in range(3):
            sums[power, low:high] += (weight * offset**power)[:, :, None] * place
    matrix = np.stack([moments[[i, i + 1, i + 2]] for i in range(3)]).transpose(2, 3, 0, 1)
    ridge = _RIDGE * moments[0]
    matrix[:, :, 1, 1] += ridge
    matrix[:, :, 2, 2] += ridge
    matrix[moments[0] <= 0] = np.eye(3)
    coefficients = np.linalg.solve(matrix, sums.transpose(1, 2, 0, 3))
    low_bound, high_bound = _bounds(places, weights)
    return np.clip(coefficients[:, :, 0], low_bound, high_bound)


def _bounds(
    places: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest of the known places (T, K, 2) within `_NEARBY` frames; of none, no bounds."""
    known = (weights > 0)[:, :, None]

    def nearby(nothing: float) -> NDArray[np.float64]:
        padded = np.pad(np.where(known, places, nothing), ((_NEARBY, _NEARBY), (0, 0), (0, 0)), constant_values=nothing)
        return sliding_window_view(padded, 2 * _NEARBY + 1, axis=0)

    least, greatest = nearby(np.inf).min(axis=-1), nearby(-np.inf).max(axis=-1)
    none = least > greatest
    return np.where(none, -np.inf, least), np.where(none, np.inf, greatest)
