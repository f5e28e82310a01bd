"""Where the performer stands in the source's place: where the source's dancer did, with the same feet on the floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import BODY, FEET, LEFT_ANKLE, RIGHT_ANKLE
from services.common.tracks import PoseTrack

Floats = NDArray[np.float64]

_SURE = 0.3
_SMOOTH_FRAMES = 3.0
_POINTS = [*range(BODY.start, BODY.stop), *range(FEET.start, FEET.stop)]
_ANKLES = [LEFT_ANKLE, RIGHT_ANKLE]


def standing_in(driven: PoseTrack, source: PoseTrack) -> Floats:
    """Maps from the target's registered camera to the source's, one for each frame, without turning.

    The driven track is the source's, scaled and moved (and in limbs mode re-proportioned): the scale is fitted to body
    and feet and smoothed over time, the place is the ankles', so that feet stay where they were.

    driven, source: each in its registered camera, equally long. Returns float64 (T, 2, 3); frames in which nobody is
    known get their neighbours' map.
    """
    usable = driven.valid & source.valid
    known = (np.minimum(driven.keypoints[:, _POINTS, 2], source.keypoints[:, _POINTS, 2]) >= _SURE) & usable[:, None]
    usable &= known.sum(axis=1) >= 2
    if not usable.any():
        return np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (len(driven), 1, 1))
    frames = np.flatnonzero(usable)
    mine, theirs = (track.keypoints[frames][:, _POINTS, :2].astype(np.float64) for track in (driven, source))
    weight = known[frames].astype(np.float64)
    everywhere = np.arange(len(driven))
    scale = _smooth(np.interp(everywhere, frames, _scales(mine, theirs, weight)))[frames]
    mine, theirs = (_feet(track, frames, places, weight) for track, places in ((driven, mine), (source, theirs)))
    shift = theirs - mine * scale[:, None]
    maps = np.zeros((len(driven), 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = np.interp(everywhere, frames, scale)
    maps[:, 0, 2], maps[:, 1, 2] = (np.interp(everywhere, frames, shift[:, axis]) for axis in (0, 1))
    return maps


def _scales(mine: Floats, theirs: Floats, weight: Floats) -> Floats:
    """Least-squares scale of each frame about the means: (F,)."""
    share = (weight / weight.sum(axis=1, keepdims=True))[..., None]
    a, b = (places - (places * share).sum(axis=1, keepdims=True) for places in (mine, theirs))
    spread: Floats = np.maximum((a * a * share).sum(axis=(1, 2)), 1e-9)
    common: Floats = (a * b * share).sum(axis=(1, 2))
    return common / spread


def _feet(track: PoseTrack, frames: NDArray[np.intp], places: Floats, weight: Floats) -> Floats:
    """(F, 2): the middle between the ankles, of all known points where an ankle is not known."""
    ankles = track.keypoints[frames][:, _ANKLES]
    middle = (places * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    known = np.min(ankles[:, :, 2], axis=1, keepdims=True) >= _SURE
    return np.asarray(np.where(known, ankles[:, :, :2].astype(np.float64).mean(axis=1), middle), dtype=np.float64)


def _smooth(values: Floats) -> Floats:
    """Gaussian over time; the ends are continued as they are."""
    radius = int(3 * _SMOOTH_FRAMES)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SMOOTH_FRAMES) ** 2)
    return np.convolve(np.pad(values, radius, mode="edge"), kernel / kernel.sum(), mode="valid")
