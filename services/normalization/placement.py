"""From the source's floor to the target's: where the driven dancer stands in each frame, and at what scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.normalization.stance import STATIC_DEPTH, Stance

Floats = NDArray[np.float64]

_LARGEST_GAIN: Final = 2.0
"""A step of the source may become so much longer, beside its body's scale, when the target's floor is deeper."""


@dataclass(frozen=True)
class Placement:
    """How each frame of the source goes into the target's registered camera.

    scale: float64 (T,): target px for a source px. floor: float64 (T,): y of the floor under the feet. x: float64
    (T,): middle of the feet. scale_close, scale_far: at the ends of the floor.
    """

    scale: Floats
    floor: Floats
    x: Floats
    scale_close: float
    scale_far: float


def place(source: Stance, target: Stance) -> Placement:
    """Chan et al.'s mapping of floor and scale.

    With s and t the foot levels of source and target, p = (s - s_far) / (s_close - s_far); the target's level is
    t_far + p (t_close - t_far), the scale c_far + p (c_close - c_far) with c the ratio of heights at each end. A source
    that stands (s_close = s_far) has no p: its level moves about the target's median, its scale is the ratio of the
    heights over all. Half of the way beyond an end p stops, and the level goes on by that ratio.
    """
    ratio = target.height / source.height
    if source.depth < STATIC_DEPTH:
        floor = target.middle + ratio * (source.level - source.middle)
        scale = np.full_like(floor, ratio)
        return Placement(scale, floor, _across(source, target, scale), ratio, ratio)
    close = target.height_close / source.height_close
    far = target.height_far / source.height_far
    t_close, t_far = _target_ends(source, target, ratio)
    # Beyond the ends the line is followed a little, and from there on the body's own scale: nobody stands still there.
    depth = source.close - source.far
    level = np.clip(source.level, source.far - 0.5 * depth, source.close + 0.5 * depth)
    p = (level - source.far) / depth
    scale = np.maximum(far + p * (close - far), 0.5 * ratio)
    floor = t_far + p * (t_close - t_far) + ratio * (source.level - level)
    return Placement(scale, floor, _across(source, target, scale), close, far)


def _target_ends(source: Stance, target: Stance, ratio: float) -> tuple[float, float]:
    """The target's ends of the floor, brought nearer to its median where steps would become giant's steps."""
    span = target.close - target.far
    largest = _LARGEST_GAIN * ratio * (source.close - source.far)
    if span <= largest:
        return target.close, target.far
    shrink = largest / span
    return (
        target.middle + shrink * (target.close - target.middle),
        target.middle - shrink * (target.middle - target.far),
    )


def _across(source: Stance, target: Stance, scale: Floats) -> Floats:
    return np.asarray(target.centre_x + scale * (source.x - source.centre_x), dtype=np.float64)
