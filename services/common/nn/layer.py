"""The window's picture back into the full frame, over the plate. Needs numpy and OpenCV, no torch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.camera import compose, invert

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

# A sigmoid never says quite 0 or 1: what is this near counts as there, so that the plate is exact and bodies are solid.
_CLEAR, _SOLID = 0.03, 0.97
# Cubic interpolation reaches two px beyond.
_REACH_PX = 3


def lay_over(plate: Picture, window: Floats, matrix: NDArray[np.float64]) -> Picture:
    """The window's person over the plate, resampled once.

    Args:
        plate: uint8 (H, W, 3).
        window: float32 (h, w, 4) in 0..1, colour not multiplied by alpha.
        matrix: float64 (2, 3), plate px to window px.

    Returns:
        uint8 (H, W, 3). Pixels that the person does not reach equal the plate's.
    """
    alpha = np.clip((window[..., 3:] - _CLEAR) / (_SOLID - _CLEAR), 0.0, 1.0)
    result = plate.copy()
    left, top, width, height = cv2.boundingRect((alpha[..., 0] > 0).astype(np.uint8))
    if width == 0:
        return result
    # Colour goes multiplied by alpha: else the arbitrary colour of transparent pixels would bleed into the edge.
    layered = np.concatenate([window[..., :3] * alpha, alpha], axis=2)[top : top + height, left : left + width]
    layered = np.pad(layered, ((_REACH_PX, _REACH_PX), (_REACH_PX, _REACH_PX), (0, 0)))
    back = compose(invert(matrix), np.array([[1.0, 0.0, left - _REACH_PX], [0.0, 1.0, top - _REACH_PX]]))
    area = _covered(back, layered.shape[1], layered.shape[0], plate.shape[1], plate.shape[0])
    under = result[area]
    if under.size == 0:
        return result
    here = np.array([[1.0, 0.0, -area[1].start], [0.0, 1.0, -area[0].start]])
    size = (under.shape[1], under.shape[0])
    layered = cv2.warpAffine(layered, compose(here, back), size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    cover = np.clip(layered[..., 3:], 0.0, 1.0)
    # Cubic interpolation overshoots at edges, alpha and colour by the same part: divided by it, colour stays right.
    colour = np.clip(layered[..., :3] / np.maximum(layered[..., 3:], 1e-3), 0.0, 1.0)
    mixed = colour * (cover * 255.0) + under * (1.0 - cover)
    result[area] = np.rint(mixed).astype(np.uint8)
    return result


def _covered(matrix: NDArray[np.float64], width: int, height: int, across: int, down: int) -> tuple[slice, slice]:
    """Rows and columns of an `across` x `down` px frame that a `width` x `height` px picture reaches by `matrix`."""
    corners = np.array([[-1.0, -1.0], [width, -1.0], [-1.0, height], [width, height]]) @ matrix[:, :2].T
    corners += matrix[:, 2]
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
    columns = slice(int(np.clip(low[0], 0, across)), int(np.clip(high[0], 0, across)))
    rows = slice(int(np.clip(low[1], 0, down)), int(np.clip(high[1], 0, down)))
    return rows, columns
