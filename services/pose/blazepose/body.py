"""33 body landmarks of the one person in a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.pose.blazepose.networks import Network, Runtime, sigmoid
from services.pose.blazepose.regions import Pyramid, Region, pointing_up, to_frame

Floats = NDArray[np.float32]

LANDMARKS = 33
_HIP_CENTRE, _BODY_REACH = 33, 34  # auxiliary landmarks: the next region's centre, and a point on its circle
_MARGIN = 1.25
_HEATMAP_WINDOW = 7  # cells: how far from the regressed place the heatmap may move a landmark
_HEATMAP_MINIMUM = 0.5  # below this peak the regressed place stands


@dataclass(frozen=True)
class Body:
    """points: float32 (33, 2), px of the frame. confidence: float32 (33,), 0..1, falling with occlusion and outside
    the frame. score: 0..1, whether the region holds a person. region: where to look for the same body again."""

    points: Floats
    confidence: Floats
    score: float
    region: Region


class BodyLandmarks:
    """BlazePose "full" landmark network with its heatmap refinement."""

    WEIGHT = "pose_landmark_full.tflite"

    def __init__(self, runtime: Runtime) -> None:
        self._network = Network(runtime, self.WEIGHT, mean=0.0, std=255.0)

    def __call__(self, frame: Pyramid, region: Region) -> Body:
        size = self._network.size
        landmarks, score, _, heatmap, _ = self._network(frame.crop(region, size))
        rows = landmarks.reshape(-1, 5)
        local = _refined(rows[:, :2], heatmap, size)
        confidence = sigmoid(rows[:LANDMARKS, 3]) * sigmoid(rows[:LANDMARKS, 4])
        placed = to_frame(local, region, size)
        centre, reach = placed[_HIP_CENTRE], placed[_BODY_REACH]
        dx, dy = (reach - centre).tolist()
        side = 2.0 * _MARGIN * float(np.hypot(dx, dy))
        following = pointing_up(float(centre[0]), float(centre[1]), side, dx, dy)
        return Body(placed[:LANDMARKS], confidence.astype(np.float32), float(score[0]), following)


def _refined(local: Floats, heatmap: Floats, size: int) -> Floats:
    """Regressed places (K, 2), px of the crop, moved to the centre of mass of the heatmap (h, w, K) near them."""
    cells = heatmap.shape[0]
    refined = local.copy()
    radius = _HEATMAP_WINDOW // 2
    for k in range(heatmap.shape[2]):
        column, row = (local[k] / size * cells).astype(int)
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        left, top = max(0, column - radius), max(0, row - radius)
        window = sigmoid(heatmap[top : row + radius + 1, left : column + radius + 1, k])
        if window.max() < _HEATMAP_MINIMUM:
            continue
        total = window.sum()
        x = (window.sum(axis=0) * np.arange(left, left + window.shape[1])).sum() / total
        y = (window.sum(axis=1) * np.arange(top, top + window.shape[0])).sum() / total
        refined[k] = x / cells * size, y / cells * size
    return refined
