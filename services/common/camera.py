"""Affine camera maps and their application to pictures and points.

A matrix is float64 (2, 3) and maps a point (x, y) in pixels to M @ [x, y, 1]. Pixel centres have integer coordinates,
origin top left. Camera paths map frames as filmed to the registered camera (`services.common.tracks.CameraPath`).
Whoever needs pixels composes all maps first and resamples once: `warp(frame, compose(window, path[t]), size)`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Image = NDArray[np.uint8]
Border = Literal["replicate", "zero"]

_BORDERS: dict[Border, int] = {"replicate": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}
# Above this scale a bilinear tap misses too little of the frame for aliasing to be seen.
_MINIFIED_BELOW = 0.8
_MAX_SUPERSAMPLING = 4


def identity() -> Matrix:
    """The map that moves nothing."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def compose(*matrices: NDArray[np.float64]) -> Matrix:
    """One map that does the work of several, the last applied first: compose(a, b) @ p == a @ (b @ p).

    matrices: (2, 3) each, or (T, 2, 3) for a path; these broadcast against each other.
    """
    result = matrices[0]
    for matrix in matrices[1:]:
        linear = result[..., :, :2] @ matrix[..., :, :2]
        shift = result[..., :, :2] @ matrix[..., :, 2:] + result[..., :, 2:]
        result = np.concatenate([linear, shift], axis=-1)
    return result


def invert(matrix: NDArray[np.float64]) -> Matrix:
    """The map back, for (2, 3) or (T, 2, 3). Raises numpy.linalg.LinAlgError for a map that flattens the plane."""
    linear = np.linalg.inv(matrix[..., :, :2])
    return np.concatenate([linear, -linear @ matrix[..., :, 2:]], axis=-1)


def transform_points(matrix: NDArray[np.float64], points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Points (..., 2) in px sent through one map (2, 3), or points (T, N, 2) through a path (T, 2, 3)."""
    moved: NDArray[np.float64] = points.astype(np.float64) @ np.swapaxes(matrix[..., :, :2], -1, -2)
    shift = matrix[..., :, 2]
    return moved + (shift[:, None, :] if matrix.ndim == 3 else shift)


def scale_of(matrix: NDArray[np.float64]) -> float:
    """Mean magnification of a (2, 3) map: 0.5 halves every length."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def resize(source: tuple[int, int], target: tuple[int, int]) -> Matrix:
    """From a picture of `source` (width, height) px to the same picture at `target` px, as cv2.resize places it."""
    x, y = target[0] / source[0], target[1] / source[1]
    return np.array([[x, 0.0, (x - 1.0) / 2.0], [0.0, y, (y - 1.0) / 2.0]])


def window(left: float, top: float, width: float, height: float, target: tuple[int, int]) -> Matrix:
    """From a picture to the window of it at (left, top), `width` x `height` px, shown at `target` (width, height) px.

    The window's edges are pixel edges: window(0, 0, w, h, (w, h)) is the identity.
    """
    x, y = target[0] / width, target[1] / height
    return np.array([[x, 0.0, (0.5 - left) * x - 0.5], [0.0, y, (0.5 - top) * y - 0.5]])


def at_scale(matrix: NDArray[np.float64], source: tuple[int, int], target: tuple[int, int]) -> Matrix:
    """A map between two `source`-sized pictures, rewritten for the same pictures at `target` size (width, height)."""
    change = resize(source, target)
    return compose(change, matrix, invert(change))


def corner_displacement(matrices: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Farthest that any corner of a `width` x `height` px frame is moved, px: (T,) for a path (T, 2, 3)."""
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=np.float64)
    moved = transform_points(matrices, np.broadcast_to(corners, (len(matrices), 4, 2)))
    farthest: NDArray[np.float64] = np.linalg.norm(moved - corners, axis=-1).max(axis=-1)
    return farthest


def warp(image: Image, matrix: NDArray[np.float64], size: tuple[int, int], *, border: Border = "replicate") -> Image:
    """A picture seen through `matrix` (from the picture to the result), resampled once.

    When the map makes the picture smaller, every result pixel is the mean of the area that it covers: the map is
    sampled bilinearly on a finer grid and box-averaged, so that sharpness stays the same for any sub-pixel shift
    (a camera that drifts must not make the picture breathe).

    Args:
        image: uint8 (H, W) or (H, W, 3).
        matrix: float64 (2, 3).
        size: (width, height) of the result, px.
        border: what lies outside the picture: its edge pixels, or zero.

    Returns: uint8 (height, width[, 3]).
    """
    mode = _BORDERS[border]
    scale = scale_of(matrix)
    if scale < 1 / (2 * _MAX_SUPERSAMPLING):
        image, matrix = _reduced(image, matrix, scale)
        scale = scale_of(matrix)
    finer = 1 if scale >= _MINIFIED_BELOW else min(_MAX_SUPERSAMPLING, math.ceil(1 / scale))
    if finer == 1:
        return _warp(image, matrix, size, mode)
    fine_size = (size[0] * finer, size[1] * finer)
    fine = _warp(image, compose(resize(size, fine_size), matrix), fine_size, mode)
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _warp(image: Image, matrix: NDArray[np.float64], size: tuple[int, int], mode: int) -> Image:
    warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=mode)
    return np.asarray(warped, dtype=np.uint8)


def _reduced(image: Image, matrix: NDArray[np.float64], scale: float) -> tuple[Image, Matrix]:
    """The picture area-averaged to where supersampling can go on from, and the map from there."""
    height, width = image.shape[:2]
    factor = scale * _MAX_SUPERSAMPLING
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    reduced = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return reduced, compose(matrix, invert(resize((width, height), small)))
