"""What of a frame's background people hide: their mattes with a rim, and the shadow around them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from services.segmentation.plate import HIDDEN, NEAR

Mask = NDArray[np.uint8]

_RIM = 0.03  # of the person's size: soft edges, motion blur, what the matte misses
_SHADOW = 0.06  # of the person's size, around the hull: a shadow falls between the legs and beside the feet
_PRESENT = 8  # of 255


def hidden_by(shapes: list[Mask]) -> Mask:
    """Where people hide the background of a frame, at HIDDEN, and where they may shade it, at NEAR.

    shapes: uint8 (H, W) each, the matte or silhouette of one person. Returns uint8 (H, W).
    """
    hidden = np.zeros_like(shapes[0])
    for shape in shapes:
        part, size = _part_of(shape)
        if part is None:
            continue
        inside = (shape[part] > _PRESENT).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        near = np.zeros_like(inside)
        cv2.fillConvexPoly(near, cv2.convexHull(np.concatenate(outlines)), 1)
        near = _grown(near, _SHADOW * size) * np.uint8(NEAR)
        rim = _grown(inside, _RIM * size) * np.uint8(HIDDEN)
        np.maximum(hidden[part], np.maximum(near, rim), out=hidden[part])
    return hidden


def _part_of(shape: Mask) -> tuple[tuple[slice, slice] | None, float]:
    """The part of the frame that a person and the surroundings take up, and the person's longer side, px."""
    left, top, width, height = cv2.boundingRect((shape > _PRESENT).astype(np.uint8))
    if width == 0:
        return None, 0.0
    size = float(max(width, height))
    margin = round(2 * _SHADOW * size) + 2
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    ), size


def _grown(shape: Mask, radius: float) -> Mask:
    """The shape (non-zero is inside) and everything within `radius` px of it, as 0 and 1."""
    distance = cv2.distanceTransform((shape == 0).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(distance <= max(2.0, radius), dtype=np.uint8)
