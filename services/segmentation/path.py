"""From single measurements to a camera path: outliers replaced, smoothed only where that lowers the error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common import camera
from services.segmentation.flow import Fit, fit_similarity

Matrices = NDArray[np.float64]

# Windows of local quadratic smoothing that are tried, frames.
_WINDOWS = (5, 9, 15)
# A frame this far from where both neighbours place it, while they agree and nothing of the kind happens around, is a
# wrong measurement.
_OUTLIER_PX = 3.0
_OUTLIER_TIMES = 5.0  # the usual jump of the frames around
_AROUND = 7  # frames to either side
# Measured displacements below this, or below the measurement's own noise, are those of a still camera.
_STILL_PX = 0.5


@dataclass
class MeasuredPath:
    """What was measured of each frame, in working pixels of a `width` x `height` frame."""

    matrices: Matrices  # (T, 2, 3) frame to root; that of a neighbour where nothing was measured
    measured: NDArray[np.bool_]  # (T,)
    residual_px: NDArray[np.float64]  # (T,)
    half_difference_px: NDArray[np.float64]  # (T,) between fits to either half of the points, at the frame's corners
    width: int
    height: int

    @classmethod
    def empty(cls, frames: int, width: int, height: int) -> MeasuredPath:
        matrices = np.tile(camera.identity(), (frames, 1, 1))
        zeros = np.zeros(frames)
        return cls(matrices, np.zeros(frames, bool), zeros, zeros.copy(), width, height)

    def put_root(self, index: int) -> None:
        self.measured[index] = True

    def put(self, index: int, fit: Fit | None, to_root: camera.Matrix) -> None:
        self.matrices[index] = to_root
        if fit is None:
            return
        self.measured[index] = True
        self.residual_px[index] = fit.residual_px
        halves = [fit_similarity(fit.here[start::2], fit.there[start::2]) for start in (0, 1)]
        between = camera.compose(halves[0], camera.invert(halves[1]))
        self.half_difference_px[index] = float(_displacement(between[None], self.width, self.height)[0])

    @property
    def noise_px(self) -> float:
        """Standard error of one frame's camera at the frame's corners, px: half of what two half fits differ by."""
        known = self.half_difference_px[self.measured]
        return float(np.sqrt((known**2).mean()) / 2) if known.size else 0.0


def cleaned(path: MeasuredPath) -> tuple[Matrices, NDArray[np.bool_], int]:
    """Matrices (T, 2, 3) with wrong and missing ones interpolated, which frames were measured, smoothing window."""
    good = path.measured & ~_outliers(path)
    states = _states(path.matrices, path.width, path.height)
    frames = np.arange(len(states))
    filled = np.stack([np.interp(frames, frames[good], column[good]) for column in states.T], axis=1)
    # Stein's unbiased risk estimate (1981): the expected error of a linear smoother, from the noise and the data
    # alone. Smoothing is kept only when its risk is below that of leaving the measurements as they are.
    noise = path.noise_px**2
    best, best_risk, window = filled, noise, 1
    for width in _WINDOWS:
        if len(filled) < 2 * width:
            break
        smooth, own_weight = _local_quadratic(filled, width)
        change = _difference(smooth, filled, path.width, path.height)[good]
        # Camera shake is not spread evenly: one jolt smoothed away costs more than the mean shows.
        risk = float((change**2).mean()) + (2 * own_weight - 1) * noise
        if risk < best_risk and float(change.max()) < 4 * path.noise_px:
            best, best_risk, window = smooth, risk, width
    return _matrices(best, path.width, path.height), good, window


def is_still(matrices: Matrices, path: MeasuredPath) -> bool:
    """Whether what movement there is cannot be told from noise."""
    displacement = _displacement(matrices, path.width, path.height)
    return bool(np.percentile(displacement, 98) < max(_STILL_PX, 2 * path.noise_px))


def centred(matrices: Matrices, good: NDArray[np.bool_], width: int, height: int) -> tuple[Matrices, int]:
    """The path seen from its most central measured frame (least mean displacement of all others), and its index."""
    states = _states(matrices, width, height)
    candidates = np.flatnonzero(good)
    candidates = candidates[:: max(1, len(candidates) // 500)]
    cost = [_difference(states, states[index][None], width, height).mean() for index in candidates]
    index = int(candidates[int(np.argmin(cost))])
    return camera.compose(camera.invert(matrices[index]), matrices), index


def _states(matrices: Matrices, width: int, height: int) -> NDArray[np.float64]:
    """Similarities (T, 2, 3) as (T, 4): where the frame's centre goes, px, and the linear part's cosine and sine."""
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = camera.transform_points(matrices, np.broadcast_to(centre, (len(matrices), 1, 2)))[:, 0]
    return np.concatenate([moved, matrices[:, :, 0]], axis=1)


def _matrices(states: NDArray[np.float64], width: int, height: int) -> Matrices:
    cosine, sine = states[:, 2], states[:, 3]
    linear = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = states[:, :2] - linear @ centre
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def _difference(first: NDArray[np.float64], second: NDArray[np.float64], width: int, height: int) -> Matrices:
    """Root mean square over the frame's corners of how far two cameras (T, 4) place them apart, px, (T,)."""
    delta = first - second
    reach = (width**2 + height**2) / 4
    apart: NDArray[np.float64] = np.sqrt((delta[:, :2] ** 2).sum(axis=1) + reach * (delta[:, 2:] ** 2).sum(axis=1))
    return apart


def _displacement(matrices: Matrices, width: int, height: int) -> NDArray[np.float64]:
    identity = _states(camera.identity()[None], width, height)
    return _difference(_states(matrices, width, height), identity, width, height)


def _outliers(path: MeasuredPath) -> NDArray[np.bool_]:
    """Frames (T,) that lie far from the mean of their measured neighbours, which agree with each other."""
    outlier = np.zeros(len(path.measured), dtype=np.bool_)
    index = np.flatnonzero(path.measured)
    if len(index) < 3:
        return outlier
    states = _states(path.matrices[index], path.width, path.height)
    before, here, after = states[:-2], states[1:-1], states[2:]
    jump = _difference(here, (before + after) / 2, path.width, path.height)
    agree = _difference(before, after, path.width, path.height)
    padded = np.pad(jump, _AROUND, mode="reflect" if len(jump) > _AROUND else "edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1), axis=1)
    outlier[index[1:-1]] = (jump > _OUTLIER_PX) & (jump > 3 * agree) & (jump > _OUTLIER_TIMES * usual)
    return outlier


def _local_quadratic(states: NDArray[np.float64], window: int) -> tuple[NDArray[np.float64], float]:
    """Savitzky and Golay (1964): each value from the parabola through its window; and its own weight in that."""
    half = window // 2
    offsets = np.arange(-half, half + 1)
    design = np.stack([np.ones(window), offsets, offsets**2], axis=1).astype(np.float64)
    fit = np.linalg.pinv(design)
    weights = fit[0]
    padded = np.concatenate([2 * states[:1] - states[half:0:-1], states, 2 * states[-1:] - states[-2 : -half - 2 : -1]])
    smooth = np.stack([np.convolve(column, weights[::-1], mode="valid") for column in padded.T], axis=1)
    return smooth, float(weights[half])
