"""21 landmarks of one hand, looked for where the body's wrist and fingers are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.pose.blazepose.networks import Network, Runtime
from services.pose.blazepose.regions import Pyramid, Region, pointing_up, to_frame

Floats = NDArray[np.float32]

# The margins are those of MediaPipe's published holistic graph.
_BODY_TO_SEARCH = 2.7
_TOWARDS_FINGERS = -0.1


@dataclass(frozen=True)
class Hand:
    """points: float32 (21, 2), px of the frame. score: 0..1, whether a hand was in the region."""

    points: Floats
    score: float


class HandLandmarks:
    """Re-crop network (finds the hand's own square near the wrist), then MediaPipe Hands' landmark network."""

    WEIGHTS = ("hand_recrop.tflite", "hand_landmark_full.tflite")

    def __init__(self, runtime: Runtime) -> None:
        self._recrop = Network(runtime, self.WEIGHTS[0], mean=0.0, std=255.0)
        self._landmarks = Network(runtime, self.WEIGHTS[1], mean=0.0, std=255.0)

    def __call__(self, frame: Pyramid, wrist: Floats, little: Floats, index: Floats) -> Hand:
        """wrist, little, index: float32 (2,), px: the body network's wrist and finger roots of this hand."""
        region = self._recropped(frame, _search_region(wrist, little, index))
        size = self._landmarks.size
        points, score, *_ = self._landmarks(frame.crop(region, size))
        return Hand(to_frame(points.reshape(21, 3)[:, :2], region, size), float(score[0]))

    def _recropped(self, frame: Pyramid, search: Region) -> Region:
        size = self._recrop.size
        (output,) = self._recrop(frame.crop(search, size))
        centre, wrist_side = to_frame(output.reshape(2, 2), search, size)
        dx, dy = (centre - wrist_side).tolist()
        side = 2.0 * float(np.hypot(dx, dy))
        return pointing_up(float(centre[0]), float(centre[1]), side, dx, dy).shifted_down(_TOWARDS_FINGERS)


def _search_region(wrist: Floats, little: Floats, index: Floats) -> Region:
    middle = (2 * index + little) / 3
    dx, dy = (middle - wrist).tolist()
    side = 2.0 * float(np.hypot(dx, dy))
    towards = pointing_up(float(middle[0]), float(middle[1]), max(side, 1.0), dx, dy)
    return towards.shifted_down(_TOWARDS_FINGERS).scaled(_BODY_TO_SEARCH)
