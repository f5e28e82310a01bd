"""Finds people in a frame: a single-shot detector that gives each one's hip centre, size and rotation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.pose.blazepose.networks import Network, Runtime, sigmoid
from services.pose.blazepose.regions import Pyramid, Region, pointing_up, to_frame, whole_frame

Floats = NDArray[np.float32]

# Two anchors a cell on each of the grids below (224 px input, strides 8, 16 and 32), three strides of 32 in a row.
_GRIDS = ((28, 2), (14, 2), (7, 6))
_MERGE_OVERLAP = 0.3  # intersection over union above which two boxes are one person
_BODY_MARGIN = 1.25  # the detector's circle just holds the body


class Detection(NamedTuple):
    """One person. score: 0..1. body: region that holds the whole body, upright along the spine. face: region."""

    score: float
    body: Region
    face: Region


class PersonDetector:
    """BlazePose's detector: a face box and four points a person, of which two give the body's circle and axis."""

    WEIGHT = "pose_detection.tflite"

    def __init__(self, runtime: Runtime, minimum_score: float) -> None:
        self._network = Network(runtime, self.WEIGHT, mean=127.5, std=127.5)
        self._anchors = _anchors()
        self._minimum_score = minimum_score

    def whole(self, frame: Pyramid) -> list[Detection]:
        """People in the whole frame, best score first."""
        return self.inside(frame, whole_frame(frame.width, frame.height))

    def tiled(self, frame: Pyramid) -> list[Detection]:
        """People in overlapping tiles of the frame: for figures too small for one look at the whole of it."""
        found: list[Detection] = []
        shorter = min(frame.width, frame.height)
        for side in (shorter, shorter // 2):
            if side < self._network.size:  # enlarging shows nothing new
                break
            for region in _tiles(frame.width, frame.height, side):
                found += self.inside(frame, region)
            if found:
                break
        return _distinct(found)

    def thorough(self, frame: Pyramid) -> list[Detection]:
        """People in the whole frame and in its tiles."""
        return _distinct([*self.whole(frame), *self.tiled(frame)])

    def inside(self, frame: Pyramid, region: Region) -> list[Detection]:
        """People in one square region of the frame, best score first."""
        size = self._network.size
        raw, logits = self._network(frame.crop(region, size))
        scores = sigmoid(logits[:, 0])
        keep = scores >= self._minimum_score
        raw, scores, anchors = raw[keep], scores[keep], self._anchors[keep]
        # Per box: centre x, y, width, height of the face, then four points; offsets from the anchor in input pixels.
        points = raw.reshape(-1, 6, 2).copy()
        points[:, [0, 2, 3, 4, 5]] += anchors[:, None] * size
        return [_detection(score, blended, region, size) for score, blended in _merge(points, scores)]


def _detection(score: float, points: Floats, region: Region, size: int) -> Detection:
    placed = to_frame(points[[0, 2, 3]], region, size)
    face, hips, reach = placed
    scale = region.side / size
    dx, dy = (reach - hips).tolist()
    side = 2.0 * _BODY_MARGIN * float(np.hypot(dx, dy))
    body = pointing_up(float(hips[0]), float(hips[1]), side, dx, dy)
    box = float(points[1].max()) * scale
    return Detection(score, body, Region(float(face[0]), float(face[1]), box, body.angle))


def _anchors() -> Floats:
    """Anchor centres, float32 (2254, 2), as fractions of the input."""
    centres = []
    for cells, per_cell in _GRIDS:
        row, column = np.mgrid[:cells, :cells]
        grid = np.stack([column, row], axis=-1).reshape(-1, 1, 2).repeat(per_cell, axis=1)
        centres.append((grid.reshape(-1, 2) + 0.5) / cells)
    return np.concatenate(centres).astype(np.float32)


def _merge(points: Floats, scores: Floats) -> list[tuple[float, Floats]]:
    """Non-maximum suppression that blends overlapping boxes by their scores instead of dropping all but one."""
    merged = []
    order = np.argsort(-scores, kind="stable")
    half = points[:, 1] * np.float32(0.5)
    low: Floats = points[:, 0] - half
    high: Floats = points[:, 0] + half
    while order.size:
        best = order[0]
        overlap = _overlap(low[best], high[best], low[order], high[order])
        same = overlap > _MERGE_OVERLAP
        same[0] = True
        group = order[same]
        weights = scores[group] / scores[group].sum()
        merged.append((float(scores[best]), np.einsum("n,nkc->kc", weights, points[group]).astype(np.float32)))
        order = order[~same]
    return merged


def _overlap(low: Floats, high: Floats, lows: Floats, highs: Floats) -> Floats:
    inner = np.clip(np.minimum(high, highs) - np.maximum(low, lows), 0, None).prod(axis=-1)
    union = (high - low).prod() + (highs - lows).prod(axis=-1) - inner
    return np.asarray(inner / np.maximum(union, 1e-6), dtype=np.float32)


def _tiles(width: int, height: int, side: int) -> list[Region]:
    """Squares of `side` px that cover the frame, neighbours overlapping by half."""
    lefts, tops = _starts(width, side), _starts(height, side)
    half = (side - 1) / 2
    return [Region(left + half, top + half, float(side), 0.0) for top in tops for left in lefts]


def _starts(length: int, side: int) -> list[float]:
    if length <= side:
        return [(length - side) / 2]
    count = int(np.ceil((length - side) / (side / 2))) + 1
    return [float(start) for start in np.linspace(0, length - side, count)]


def _distinct(found: list[Detection]) -> list[Detection]:
    """One detection a person when neighbouring tiles saw the same one; best score first."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda item: -item.score):
        body = detection.body
        near = (np.hypot(body.x - other.body.x, body.y - other.body.y) < 0.25 * other.body.side for other in kept)
        if not any(near):
            kept.append(detection)
    return kept
