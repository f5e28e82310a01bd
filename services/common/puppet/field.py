"""What of a picture belongs to which part of the body, and what of it an arm hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.nn.layer import carried_outwards
from services.common.puppet.parts import FRONT, PARTS, SURE, Posed

Floats = NDArray[np.float32]
Area = tuple[slice, slice]

# How sharply a pixel belongs to the nearest bone rather than to the next, distances taken in radii.
_SHARPNESS = 1.5
# A part is cut out as far from its bone as this many radii.
_REACH = 2.4
# Where parts lie over each other, one whose rank is larger by 1 is taken as nearer by this many squared radii.
_IN_FRONT = 0.6
# What belongs to which part is worked out at so many points along the picture's longer side, and is smooth between.
_FIELD_POINTS = 64
# What a forearm or a hand hides of such parts is filled from beside it: all within so many radii of their bones, and
# less over so many more. Filled at so many times fewer pixels: it is smooth.
_HIDING, _HIDING_EDGE, _COARSER = 1.2, 0.4, 4
# Of a part less than the first is as good as not hidden; with less than the second to be seen there is nothing to fill
# it from.
_LEAST_HIDDEN, _LEAST_SEEN = 0.1, 0.1


@dataclass(frozen=True)
class Field:
    """How much each point of a picture belongs to each part, sums of at most 1.

    coarse: float32 (P, h, w), every `step` px. size: (width, height) of the picture, px.
    """

    coarse: Floats
    step: int
    size: tuple[int, int]

    @classmethod
    def of(cls, posed: Posed, size: tuple[int, int], *, front: bool) -> Field:
        """front: parts of larger rank win where parts lie over each other."""
        near, step = _distances(posed, size, range(len(PARTS)))
        if front:
            near -= _IN_FRONT * np.array([part.rank for part in PARTS], np.float32)[:, None, None]
        near = np.where(posed.confidence[:, None, None] > 0, near, np.float32(1e3))
        scores = np.exp(-_SHARPNESS * (near - near.min(axis=0)))
        reach = 1.0 / (1.0 + np.exp(np.minimum(2.0 * (near - _REACH**2), 50.0)))
        return cls((scores / scores.sum(axis=0) * reach).astype(np.float32), step, size)

    def whole(self, part: int) -> Floats:
        """One part over the whole picture: float32 (height, width)."""
        return _fine(self.coarse[part], self.step, self.size)

    def mixed(self, factors: Floats) -> Floats:
        """The sum over the parts times `factors` (P,): float32 (height, width)."""
        return _fine(np.tensordot(factors, self.coarse, axes=1), self.step, self.size)

    def within(self, part: int, area: Area) -> Floats:
        """One part in an area whose edges are multiples of `step`, or the picture's."""
        rows, columns = (slice(each.start // self.step, -(-each.stop // self.step)) for each in area)
        size = (area[1].stop - area[1].start, area[0].stop - area[0].start)
        return _fine(self.coarse[part, rows, columns], self.step, size)


def _fine(plane: Floats, step: int, size: tuple[int, int]) -> Floats:
    """A coarse plane, every `step` px, at (width, height)."""
    height, width = plane.shape
    fine = cv2.resize(np.ascontiguousarray(plane), (width * step, height * step))
    return np.asarray(fine, dtype=np.float32)[: size[1], : size[0]]


def _distances(posed: Posed, size: tuple[int, int], parts: Sequence[int]) -> tuple[Floats, int]:
    """Squared radii from the bones of these parts (P, h, w) at points so many px apart."""
    step = max(1, -(-max(size) // _FIELD_POINTS))
    columns, rows = ((np.arange(-(-length // step), dtype=np.float32) + 0.5) * step - 0.5 for length in size)
    squares = [_squared_distance(columns, rows, posed.starts[part], posed.ends[part]) for part in parts]
    radii = np.square(posed.radii_px[list(parts)])[:, None, None]
    return np.asarray(np.stack(squares) / radii, dtype=np.float32), step


def _squared_distance(columns: Floats, rows: Floats, start: NDArray[np.float64], end: NDArray[np.float64]) -> Floats:
    """float32 (h, w): squared px from each point to the line between two others."""
    bone = end - start
    length = max(float(bone @ bone), 1e-6)
    x, y = columns[None, :] - start[0], rows[:, None] - start[1]
    along = np.clip((x * bone[0] + y * bone[1]) / length, 0.0, 1.0)
    return np.asarray((x - along * bone[0]) ** 2 + (y - along * bone[1]) ** 2, dtype=np.float32)


def hidden_by_arms(posed: Posed, size: tuple[int, int]) -> Floats | None:
    """Where a forearm or a hand lies before what is behind it: float32 (height, width) in 0..1, None for nowhere."""
    front = [part for part in FRONT if posed.confidence[part] > SURE]
    if not front:
        return None
    near, step = _distances(posed, size, front)
    share = (_HIDING + _HIDING_EDGE - np.sqrt(near.min(axis=0))) / _HIDING_EDGE
    return _fine(np.clip(share, 0.0, 1.0), step, size)


def uncovered(layer: Floats, share: Floats, hidden: Floats) -> Floats:
    """A part's layer without what hides some of it: there it has the colours of what is seen of it nearby.

    Args:
        layer: float32 (h, w, 4), colour times alpha, and alpha, 0..255.
        share: float32 (h, w) in 0..1, how much each pixel belongs to the part.
        hidden: float32 (h, w) in 0..1, by `hidden_by_arms`.
    """
    seen = (1.0 - hidden) * share
    if float((share * hidden).max()) < _LEAST_HIDDEN or float(seen.sum()) < _LEAST_SEEN * float(share.sum()):
        return layer
    height, width = seen.shape
    small = (max(1, width // _COARSER), max(1, height // _COARSER))
    weighted = cv2.resize(layer * (seen * np.float32(1.0 / 255.0))[..., None], small, interpolation=cv2.INTER_AREA)
    colour, weight = (np.asarray(each, dtype=np.float32) for each in (weighted[..., :3], weighted[..., 3:]))
    mean = colour.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-4)
    near = carried_outwards(np.asarray(colour / np.maximum(weight, 1e-4), dtype=np.float32), weight, mean)
    filled = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)
    result = layer.copy()
    result[..., :3] += hidden[..., None] * (filled * layer[..., 3:] - layer[..., :3])
    return result
