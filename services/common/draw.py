"""Draws poses over pictures, for previews and for looking."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import (
    BODY_BONES,
    FACE_BONES,
    FEET_BONES,
    LEFT_HAND_BONES,
    RIGHT_HAND_BONES,
    Bone,
)

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_SUBPIXEL_BITS = 4
_LEFT, _RIGHT, _MIDDLE = (66, 135, 245), (245, 120, 66), (240, 240, 240)
_HAND, _FACE = (120, 230, 120), (250, 220, 90)
_LEFT_POINTS = frozenset((1, 3, 5, 7, 9, 11, 13, 15, 17, 18, 19))
_RIGHT_POINTS = frozenset((2, 4, 6, 8, 10, 12, 14, 16, 20, 21, 22))


def draw_pose(
    image: Image,
    keypoints: NDArray[np.float32],
    *,
    minimum_confidence: float = 0.3,
    thickness: int | None = None,
) -> Image:
    """A copy of the picture with one skeleton over it: the person's left blue, right orange, hands green, face yellow.

    Args:
        image: uint8 (H, W, 3) RGB.
        keypoints: float32 (133, 3), px of the picture; bones with an end below `minimum_confidence` are left out.
        thickness: of the body's lines, px; by default a 180th of the person's height, at least 1.
    """
    canvas = np.ascontiguousarray(image).copy()
    known = keypoints[:, 2] >= minimum_confidence
    if not known.any():
        return canvas
    if thickness is None:
        span = np.ptp(keypoints[known, :2], axis=0).max()
        thickness = max(1, round(float(span) / 180))
    fine = max(1, thickness // 2)
    for bones, colour in ((FACE_BONES, _FACE), (LEFT_HAND_BONES, _HAND), (RIGHT_HAND_BONES, _HAND)):
        for bone in bones:
            _line(canvas, keypoints, known, bone, colour, fine)
    for bone in (*BODY_BONES, *FEET_BONES):
        _line(canvas, keypoints, known, bone, _side_colour(bone), thickness)
    return canvas


def _line(
    canvas: Image,
    keypoints: NDArray[np.float32],
    known: NDArray[np.bool_],
    bone: Bone,
    colour: Colour,
    thickness: int,
) -> None:
    start, end = bone
    if not (known[start] and known[end]):
        return
    # Far outside the picture is clipped: OpenCV's fixed-point coordinates would wrap round.
    limit = 4.0 * max(canvas.shape[:2])
    ends = np.clip(keypoints[[start, end], :2], -limit, limit)
    first, second = np.rint(ends * (1 << _SUBPIXEL_BITS)).astype(int).tolist()
    cv2.line(canvas, tuple(first), tuple(second), colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _side_colour(bone: Bone) -> Colour:
    if bone[0] in _LEFT_POINTS and bone[1] in _LEFT_POINTS:
        return _LEFT
    if bone[0] in _RIGHT_POINTS and bone[1] in _RIGHT_POINTS:
        return _RIGHT
    return _MIDDLE
