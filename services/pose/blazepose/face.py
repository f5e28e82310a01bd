"""68 face landmarks, looked for where the body's eyes, ears and mouth are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.pose.blazepose.networks import Network, Runtime, sigmoid
from services.pose.blazepose.regions import Pyramid, Region, pointing_up, to_frame

Floats = NDArray[np.float32]

# The mesh's 468 vertices that lie where iBUG's 68 landmarks are, in iBUG's order.
_MESH_TO_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners
_MESH_MARGIN = 1.5
# Landmarks of the body network: left and right eye, left and right ear, left and right mouth corner.
_EYES, _EARS, _MOUTH = [2, 5], [7, 8], [9, 10]


@dataclass(frozen=True)
class Face:
    """points: float32 (68, 2), px of the frame. score: 0..1, whether a face was in the region."""

    points: Floats
    score: float


class FaceLandmarks:
    """The face mesh, run twice: the body only says roughly where the face is, the first mesh says exactly."""

    WEIGHT = "face_landmark.tflite"

    def __init__(self, runtime: Runtime) -> None:
        self._network = Network(runtime, self.WEIGHT, mean=0.0, std=255.0)

    def __call__(self, frame: Pyramid, body: Floats) -> Face:
        """body: float32 (33, 2), px: the body landmarks."""
        first = self._mesh(frame, _region_from_body(body))[0]
        mesh, score = self._mesh(frame, _region_from_mesh(first))
        return Face(mesh[list(_MESH_TO_68)], score)

    def _mesh(self, frame: Pyramid, region: Region) -> tuple[Floats, float]:
        size = self._network.size
        mesh, logit = self._network(frame.crop(region, size))
        return to_frame(mesh.reshape(468, 3)[:, :2], region, size), float(sigmoid(logit).reshape(-1)[0])


def _region_from_body(body: Floats) -> Region:
    eyes, mouth = body[_EYES].mean(axis=0), body[_MOUTH].mean(axis=0)
    centre = (eyes + mouth) / 2
    down = mouth - eyes
    # Seen from the side the ears fall together, seen from above the mouth meets the eyes: take the longer measure.
    side = max(3.6 * float(np.hypot(*down)), 1.8 * float(np.hypot(*(body[_EARS[0]] - body[_EARS[1]]))), 1.0)
    return pointing_up(float(centre[0]), float(centre[1]), side, float(-down[0]), float(-down[1]))


def _region_from_mesh(mesh: Floats) -> Region:
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    across = mesh[_LEFT_EYE] - mesh[_RIGHT_EYE]
    centre = (low + high) / 2
    side = _MESH_MARGIN * max(float((high - low).max()), 1.0)
    return pointing_up(float(centre[0]), float(centre[1]), side, float(across[1]), float(-across[0]))
