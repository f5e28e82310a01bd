"""From a network's coarse alpha to one that follows the frame's own edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float32]
Image = NDArray[np.uint8]

_EPSILON = 1e-4  # of colours 0..1: edges weaker than 1 % of the range do not bend the alpha
# The filter leaves a haze around and in the subject; alpha this close to the ends is taken for the end.
_HAZE = 0.04


def guided_filter(guide: Image, alpha: Alpha, radius: int) -> Alpha:
    """Alpha whose edges follow those of the guide's colours.

    He, Sun and Tang, "Guided Image Filtering" (TPAMI 2013), with the coefficients computed on a smaller grid as in
    He and Sun, "Fast Guided Filter" (2015).

    Args:
        guide: uint8 (H, W, 3).
        alpha: float32 (H, W), 0..1.
        radius: of the window, px: about the size of the network's pixels in the frame.

    Returns: float32 (H, W), 0..1.
    """
    height, width = alpha.shape
    step = max(1, radius // 2)
    small = (max(1, round(width / step)), max(1, round(height / step)))
    colours = np.asarray(cv2.resize(guide, small, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
    coarse = np.asarray(cv2.resize(alpha, small, interpolation=cv2.INTER_AREA), np.float32)
    size = 2 * max(1, round(radius / step)) + 1
    lines = [
        np.asarray(cv2.blur(line, (size, size)), np.float32) for line in _local_lines(colours, coarse, (size, size))
    ]
    # Haze taken off here, on the small grid: the same line, steeper.
    gain = np.float32(1 / (1 - 2 * _HAZE))
    refined = np.asarray(cv2.resize((lines[3] - np.float32(_HAZE)) * gain, (width, height)), np.float32)
    for line, plane in zip(lines[:3], cv2.split(guide), strict=True):
        refined += np.asarray(cv2.resize(line * (gain / 255), (width, height)), np.float32) * plane
    return np.clip(refined, 0, 1, out=refined)


def _local_lines(colours: Alpha, alpha: Alpha, size: tuple[int, int]) -> list[Alpha]:
    """Best alpha = slope . colour + offset in the window around each pixel: red, green, blue slope and offset."""
    red, green, blue = cv2.split(colours)
    planes = [red, green, blue, alpha, red * red, red * green, red * blue, green * green, green * blue, blue * blue]
    planes += [red * alpha, green * alpha, blue * alpha]
    means = [np.asarray(cv2.blur(plane, size), np.float32) for plane in planes]
    r, g, b, a = means[:4]
    rr, rg, rb = means[4] - r * r + _EPSILON, means[5] - r * g, means[6] - r * b
    gg, gb, bb = means[7] - g * g + _EPSILON, means[8] - g * b, means[9] - b * b + _EPSILON
    ra, ga, ba = means[10] - r * a, means[11] - g * a, means[12] - b * a
    # Inverse of the symmetric 3 x 3 covariance by its cofactors.
    c0, c1, c2 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c4, c5, c8 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = np.maximum(rr * c0 + rg * c1 + rb * c2, np.float32(1e-14))
    x = (c0 * ra + c1 * ga + c2 * ba) / determinant
    y = (c1 * ra + c4 * ga + c5 * ba) / determinant
    z = (c2 * ra + c5 * ga + c8 * ba) / determinant
    return [x, y, z, a - x * r - y * g - z * b]


def keep_connected(alpha: Alpha, body: NDArray[np.uint8]) -> Alpha:
    """Alpha without the islands that do not touch the subject.

    alpha: float32 (H, W). body: uint8 (H, W), non-zero where the subject surely is. An island is a connected region
    above 0.25; what lies below that goes with the nearest kept region, within a few pixels.
    """
    islands = (alpha > 0.25).astype(np.uint8)
    count, labels = cv2.connectedComponents(islands, connectivity=8)
    if count <= 2:
        return alpha
    touched = np.zeros(count, dtype=bool)
    touched[np.unique(labels[body > 0])] = True
    touched[0] = False
    if not touched.any():
        return alpha
    near = cv2.dilate(touched[labels].astype(np.uint8), np.ones((9, 9), np.uint8))
    other = (labels > 0) & ~touched[labels]
    return np.asarray(alpha * ((near > 0) & ~other), dtype=np.float32)
