"""Square, rotated regions of a frame: what a landmark network looks at, and the way back to the frame."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Region(NamedTuple):
    """A square of the frame. x, y: its centre, px (pixel centres at integers). side: px. angle: radians, clockwise."""

    x: float
    y: float
    side: float
    angle: float

    def shifted_down(self, fraction: float) -> Region:
        """Moved by `fraction` of the side along the region's own downward axis."""
        step = fraction * self.side
        return self._replace(x=self.x - step * math.sin(self.angle), y=self.y + step * math.cos(self.angle))

    def scaled(self, factor: float) -> Region:
        return self._replace(side=self.side * factor)


def whole_frame(width: int, height: int) -> Region:
    """The square that holds the whole frame in its middle (letterbox)."""
    return Region((width - 1) / 2, (height - 1) / 2, float(max(width, height)), 0.0)


def pointing_up(x: float, y: float, side: float, dx: float, dy: float) -> Region:
    """Region about (x, y) whose upward axis runs along (dx, dy) of the frame."""
    return Region(x, y, side, math.atan2(dx, -dy))


def to_frame(points: Floats, region: Region, size: int) -> Floats:
    """Network output to frame coordinates.

    points: float32 (K, 2), px of a `size` x `size` crop measured from its edge (not from the first pixel's centre),
    as these networks give them. Returns float32 (K, 2), px of the frame.
    """
    centred = (points / np.float32(size) - np.float32(0.5)) * np.float32(region.side)
    cos, sin = math.cos(region.angle), math.sin(region.angle)
    turned = centred @ np.array([[cos, sin], [-sin, cos]], dtype=np.float32)
    return turned + np.array([region.x, region.y], dtype=np.float32)


class Pyramid:
    """A frame and its halvings, so that a large region is never sampled so coarsely that it aliases."""

    def __init__(self, image: Image) -> None:
        self.height, self.width = image.shape[:2]
        self._levels = [image]

    def crop(self, region: Region, size: int) -> Image:
        """uint8 (size, size, 3) picture of the region, bilinear, black outside the frame."""
        level = max(0, int(math.log2(max(region.side / size, 1.0))))
        while len(self._levels) <= level:
            finest = self._levels[-1]
            half = (max(1, finest.shape[1] // 2), max(1, finest.shape[0] // 2))
            self._levels.append(cv2.resize(finest, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False))
        image = self._levels[level]
        zoom_x, zoom_y = image.shape[1] / self.width, image.shape[0] / self.height
        pitch = region.side / size
        cos, sin = math.cos(region.angle) * pitch, math.sin(region.angle) * pitch
        middle = (size - 1) / 2
        # Crop pixel -> frame pixel -> pixel of the level (both with centres at integers).
        matrix = np.array(
            [
                [cos, -sin, region.x - cos * middle + sin * middle],
                [sin, cos, region.y - sin * middle - cos * middle],
            ]
        )
        matrix[0] *= zoom_x
        matrix[1] *= zoom_y
        matrix[:, 2] += [(zoom_x - 1) / 2, (zoom_y - 1) / 2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)
        return crop.astype(np.uint8, copy=False)
