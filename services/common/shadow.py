"""The contact shadow: the dark spots under a dancer's feet, learnt from the film and cast where the dance stands.

The plate is the place without anybody, and so without anybody's shadow; a person pasted onto it floats. The shadow is
modelled as what it mostly is, one soft ellipse under each foot, fainter the higher the foot is: few numbers, which a
film gives reliably, and which hold for poses that it never showed. Needs numpy and OpenCV.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.camera import compose, resize, scale_of, transform_points, warp
from services.common.skeleton import FEET, LEFT_ANKLE, RIGHT_ANKLE
from services.common.tracks import CameraPath, PoseTrack

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

_SURE = 0.3
_LEFT = (LEFT_ANKLE, FEET.start, FEET.start + 1, FEET.start + 2)
_RIGHT = (RIGHT_ANKLE, FEET.start + 3, FEET.start + 4, FEET.start + 5)
# The floor is where the lower foot was within so many frames.
_FLOOR_FRAMES = 12
# A foot so high above the floor, of the body's height, has a shadow fainter by e.
_FADING = 0.06
# The film is looked at so large that the body is so many px high.
_LOOKED_AT_PX = 200.0
# What belongs to the person or may: its matte grown by this part of the body's height.
_RIM = 0.015
# Shapes that are tried, of the body's height: spread across and down, and how far above the soles the middle is.
_ACROSS, _DOWN, _ABOVE = (0.06, 0.1, 0.15), (0.02, 0.035, 0.05), (0.0, 0.02, 0.04)
# A shadow explains at least this part of how the film differs from the plate about the feet, and is not invisible.
_EXPLAINED, _FAINTEST, _DARKEST = 0.1, 0.03, 0.6
_FEWEST_PX = 500


@dataclass(frozen=True)
class Shadow:
    """strength: the part of the light that is missing in the middle, 0..1. Lengths are px of the registered camera.

    across, down: standard deviations of the ellipse. above: its middle over the lowest point of the foot. height: of
    the body.
    """

    strength: float
    across: float
    down: float
    above: float
    height: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Shadow:
        """Raises TypeError where `value` is not what `to_json` wrote."""
        return cls(**{name: float(each) for name, each in value.items()})

    def cast(self, picture: Picture, feet: Floats, matrix: NDArray[np.float64]) -> Picture:
        """The picture with the shadow on it.

        Args:
            picture: uint8 (H, W, 3).
            feet: float64 (2, 3), a row of `feet_of`.
            matrix: float64 (2, 3), registered camera to the picture.
        """
        shade = np.zeros(picture.shape[:2], np.float32)
        scale = scale_of(matrix)
        drawn = [area for foot in feet if (area := self._draw(shade, foot, matrix, scale)) is not None]
        if not drawn:
            return picture
        rows = slice(min(area[0].start for area in drawn), max(area[0].stop for area in drawn))
        columns = slice(min(area[1].start for area in drawn), max(area[1].stop for area in drawn))
        result = picture.copy()
        lit = picture[rows, columns] * (1.0 - self.strength * shade[rows, columns, None])
        result[rows, columns] = np.rint(lit).astype(np.uint8)
        return result

    def _draw(
        self, shade: NDArray[np.float32], foot: Floats, matrix: NDArray[np.float64], scale: float
    ) -> tuple[slice, slice] | None:
        """Adds one foot's ellipse, at most 1 with what is there. Returns where; None where it is out of sight."""
        x, y = transform_points(matrix, np.array([foot[0], foot[1] - self.above]))
        across, down = scale * self.across, scale * self.down
        height, width = shade.shape
        rows = slice(max(0, int(y - 3 * down)), min(height, int(y + 3 * down) + 2))
        columns = slice(max(0, int(x - 3 * across)), min(width, int(x + 3 * across) + 2))
        if foot[2] < 0.01 or rows.stop <= rows.start or columns.stop <= columns.start:
            return None
        vertical = np.exp(-0.5 * ((np.arange(rows.start, rows.stop) - y) / down) ** 2)
        horizontal = np.exp(-0.5 * ((np.arange(columns.start, columns.stop) - x) / across) ** 2)
        spot = (foot[2] * vertical[:, None] * horizontal).astype(np.float32)
        np.maximum(shade[rows, columns], spot, out=shade[rows, columns])
        return rows, columns


def feet_of(track: PoseTrack, height: float) -> Floats:
    """Where the feet stand: float64 (T, 2, 3), the x and y of each foot's lowest point, and 0..1, how near the floor.

    track: in the registered camera. height: of the body, px. Feet that are not known are far from the floor.
    """
    found = np.zeros((len(track), 2, 3))
    for side, points in enumerate((_LEFT, _RIGHT)):
        keypoints = track.keypoints[:, points].astype(np.float64)
        sure = (keypoints[..., 2] >= _SURE) & track.valid[:, None]
        count = sure.sum(axis=1)
        found[:, side, 0] = (keypoints[..., 0] * sure).sum(axis=1) / np.maximum(count, 1)
        found[:, side, 1] = np.where(sure, keypoints[..., 1], -np.inf).max(axis=1)
        found[:, side, 2] = count >= 2
    known = found[..., 2] > 0
    lowest = np.where(known, found[..., 1], -np.inf).max(axis=1)
    padded = np.pad(lowest, _FLOOR_FRAMES, constant_values=-np.inf)
    floor = np.lib.stride_tricks.sliding_window_view(padded, 2 * _FLOOR_FRAMES + 1).max(axis=1)
    lift = np.where(known, floor[:, None] - np.where(known, found[..., 1], 0.0), np.inf)
    found[..., 2] = np.where(known, np.exp(-lift / (_FADING * height)), 0.0)
    found[..., 1] = np.where(known, found[..., 1], 0.0)
    return found


def fit_shadow(
    track: PoseTrack, camera: CameraPath, plate: Picture, frames: Iterable[tuple[int, Picture, Picture]]
) -> Shadow | None:
    """The shadow that the film shows; None where it shows none that is worth casting.

    Args:
        track: the clip's poses in the registered camera.
        camera: its camera path.
        plate: uint8 (H, W, 3), registered camera.
        frames: some of the clip's: index, picture as filmed (H, W, 3), the person's alpha (H, W).
    """
    height = _body_height(track)
    if height <= 0.0:
        return None
    scale = min(1.0, _LOOKED_AT_PX / height)
    size = (max(1, round(plate.shape[1] * scale)), max(1, round(plate.shape[0] * scale)))
    small = resize((plate.shape[1], plate.shape[0]), size)
    behind = _brightness(warp(plate, small, size))
    shapes = [(a * height, d * height, u * height) for a, d, u in product(_ACROSS, _DOWN, _ABOVE)]
    feet, sums = feet_of(track, height), np.zeros((len(shapes), 3))
    pixels = 0
    for index, picture, matte in frames:
        matrix = compose(small, camera.matrices[index])
        missing = 1.0 - _brightness(warp(picture, matrix, size)) / behind
        free = _free(matte, matrix, size, round(_RIM * height * scale)) & _about(feet[index], height, small, size)
        pixels += int(free.sum())
        seen = np.clip(missing[free], -_DARKEST, _DARKEST)
        for row, shape in enumerate(shapes):
            shade = np.zeros(size[::-1], np.float32)
            for foot in feet[index]:
                Shadow(1.0, *shape, height)._draw(shade, foot, small, scale)
            cast = shade[free].astype(np.float64)
            sums[row] += (cast @ seen, cast @ cast, seen @ seen)
    if pixels < _FEWEST_PX:
        return None
    explained = sums[:, 0] ** 2 / np.maximum(sums[:, 1] * sums[:, 2], 1e-9)
    best = int(explained.argmax())
    strength = sums[best, 0] / max(sums[best, 1], 1e-9)
    if explained[best] < _EXPLAINED or strength < _FAINTEST:
        return None
    return Shadow(min(float(strength), _DARKEST), *shapes[best], height)


def _body_height(track: PoseTrack) -> float:
    """Of the upright body, px: what nine tenths of the frames do not exceed."""
    known = (track.keypoints[:, : FEET.stop, 2] >= _SURE) & track.valid[:, None]
    rows = np.flatnonzero(known.sum(axis=1) >= 2)
    if not len(rows):
        return 0.0
    tall = [float(np.ptp(track.keypoints[row, : FEET.stop, 1][known[row]])) for row in rows]
    return float(np.percentile(tall, 90.0))


def _brightness(picture: Picture) -> NDArray[np.float32]:
    """float32 (H, W), never so dark that a quotient of two is noise."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) + 8.0


def _free(matte: Picture, matrix: NDArray[np.float64], size: tuple[int, int], rim: int) -> NDArray[np.bool_]:
    """Where the film shows the place and not the person."""
    alpha = warp(matte, matrix, size, border="zero")
    filmed = warp(np.full(matte.shape, 255, np.uint8), matrix, size, border="zero")
    grown = cv2.dilate(alpha, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))
    return np.asarray((grown < 13) & (filmed == 255))


def _about(feet: Floats, height: float, small: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the feet's shadows can be."""
    about = np.zeros(size[::-1], np.bool_)
    scale = float(small[0, 0])
    for foot in feet[feet[:, 2] > 0]:
        x, y = transform_points(small, foot[:2])
        across, down = 0.25 * height * scale, 0.12 * height * scale
        about[max(0, int(y - down)) : max(0, int(y + down)), max(0, int(x - across)) : max(0, int(x + across))] = True
    return about
