"""The face of a window: what a refiner is given of it, and how what it says is laid in. No torch needed.

A face is a hundredth of a window and most of what people look at. The window's network has few channels for it, and
the draft's detail is of a face that looked elsewhere. So a second, small network sees the finished picture about the
head, at the size at which it is delivered, and says what to add to its colours, as the face network of "Everybody Dance
Now" does (Chan et al., ICCV 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Area = tuple[slice, slice]
Residuals = Callable[[Floats], Floats]
"""float32 (N, PLANES, S, S) to what is added to the colours, (N, 3, S, S)."""

# Nose, eyes and ears: known wherever the body is.
_HEAD = slice(0, 5)
# The square's side in lengths of the trunk: the head with its hair, and some of what is around it.
_SIDE = 0.7
MULTIPLE = 8
"""A square's side is a multiple of so many px."""
_LEAST_PX = 32
# Lines by plane: contour, brows, nose, eyes, mouth. Indices of COCO-WholeBody; left and right share a plane.
_LINES: tuple[tuple[tuple[int, ...], ...], ...] = (
    (tuple(range(23, 40)),),
    (tuple(range(40, 45)), tuple(range(45, 50))),
    (tuple(range(50, 54)), tuple(range(54, 59))),
    ((*range(59, 65), 59), (*range(65, 71), 65)),
    ((*range(71, 83), 71), (*range(83, 91), 83)),
)
PLANES = 8 + len(_LINES)
"""Of what a refiner is given: colour and alpha of the picture, the same as the network painted it, the face's lines."""
_SURE = 0.3
# Lines are drawn at so many steps a px.
_SHIFT = 4
MIXED, PURE = 0.75, 0.97
"""Alphas between which a pixel becomes the person's own (`layer.py`): what is mixed with the background stays as it is,
or the refiner would learn the background of the film, and a rim of it be seen before another."""
# Of the square's half side: what is added fades to nothing over so much at its edge.
_FEATHER = 0.25


def face_side(trunk_px: float, picture: int) -> int:
    """Side of the square about the face, px: for a trunk of this length, in pictures of `picture` px."""
    wanted = MULTIPLE * math.ceil(_SIDE * trunk_px / MULTIPLE)
    return max(_LEAST_PX, min(wanted, picture // 2 // MULTIPLE * MULTIPLE))


def face_area(pose: Floats, side: int, height: int, width: int) -> Area | None:
    """Rows and columns of a square of `side` px about the head of a pose (133, 3), inside a picture of this size.

    None where no point of the head is known, or the picture has no room.
    """
    weight = pose[_HEAD, 2:]
    total = float(weight.sum())
    if total <= 0.0 or min(height, width) < side:
        return None
    x, y = (pose[_HEAD, :2] * weight).sum(axis=0) / total
    if not (0.0 <= x < width and 0.0 <= y < height):
        return None
    top, left = (int(np.clip(round(at) - side // 2, 0, most - side)) for at, most in ((y, height), (x, width)))
    return slice(top, top + side), slice(left, left + side)


def face_planes(picture: Floats, painted: Floats, pose: Floats, area: Area) -> Floats:
    """What a refiner is given of an area of S px: float32 (PLANES, S, S) in 0..1.

    Args:
        picture: float32 (f H, f W, 4), the finished window, colour and alpha.
        painted: float32 (H, W, 4), the window as the network painted it.
        pose: float32 (133, 3), px of the picture.
        area: of the picture.
    """
    rows, columns = area
    factor, side = picture.shape[0] // painted.shape[0], rows.stop - rows.start
    step = 1.0 / factor
    there = np.array([[step, 0, (columns.start + 0.5) * step - 0.5], [0, step, (rows.start + 0.5) * step - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(painted, there, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    both = np.concatenate([picture[area], enlarged], axis=2).transpose(2, 0, 1)
    return np.concatenate([both, _lines(pose, area)]).astype(np.float32, copy=False)


def _lines(pose: Floats, area: Area) -> Floats:
    rows, columns = area
    side = rows.stop - rows.start
    planes = np.zeros((len(_LINES), side, side), np.uint8)
    points = (pose[:, :2] - np.array([columns.start, rows.start], np.float32)) * (1 << _SHIFT)
    thickness = max(1, round(side / 48))
    for plane, lines in zip(planes, _LINES, strict=True):
        for line in lines:
            if pose[list(line), 2].min() >= _SURE:
                drawn = np.rint(points[list(line)]).astype(np.int32)[:, None]
                cv2.polylines(plane, [drawn], False, 255, thickness, cv2.LINE_AA, _SHIFT)  # noqa: FBT003
    return np.asarray(planes * np.float32(1.0 / 255.0), dtype=np.float32)


def feather(side: int) -> Floats:
    """How much of what a refiner says is added: (S, S), 1 in the middle, 0 from the square's inscribed circle on."""
    across = (np.arange(side) + 0.5) / (0.5 * side) - 1.0
    radius = np.hypot(across[:, None], across)
    return np.asarray(np.clip((1.0 - radius) / _FEATHER, 0.0, 1.0), dtype=np.float32)


class FacePainter:
    """Lays what a refiner says into finished windows.

    Args:
        side: of the square, px of the pictures.
        residuals: the refiner.
        batch: squares of each call, so that a picture never depends on which others are made with it.
    """

    def __init__(self, side: int, residuals: Residuals, batch: int = 1) -> None:
        self.side, self._residuals, self._batch = side, residuals, batch
        self._feather = feather(side)[..., None]

    def __call__(self, pictures: Sequence[Floats], painted: Sequence[Floats], poses: Floats) -> None:
        """Changes the colours of the pictures, each (f H, f W, 4), where their poses (N, 133, 3) have their heads.

        painted: each (H, W, 4), as the network painted it. poses: px of the pictures.
        """
        found = [(n, area) for n, pose in enumerate(poses)
                 if (area := face_area(pose, self.side, *pictures[n].shape[:2])) is not None]  # fmt: skip
        for first in range(0, len(found), self._batch):
            some = found[first : first + self._batch]
            planes = np.zeros((self._batch, PLANES, self.side, self.side), np.float32)
            for row, (n, area) in enumerate(some):
                planes[row] = face_planes(pictures[n], painted[n], poses[n], area)
            for (n, area), residual in zip(some, self._residuals(planes), strict=False):
                colours, alpha = pictures[n][area][..., :3], pictures[n][area][..., 3:]
                weight = self._feather * np.clip((alpha - MIXED) / (PURE - MIXED), 0.0, 1.0)
                np.clip(colours + weight * residual.transpose(1, 2, 0), 0.0, 1.0, out=colours)
