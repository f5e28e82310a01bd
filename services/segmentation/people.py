"""Where people are, from their poses: generous silhouettes that hide them from measurements of the background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common import skeleton

Keypoints = NDArray[np.float32]
Mask = NDArray[np.uint8]

# Widths as shares of the person's size (the longer side of the box around the known keypoints). A limb with clothes
# is about 0.06 wide, a head 0.13 high; the rest is room for loose clothes and for keypoints that are a little off.
_LIMB_WIDTH = 0.13
_TRUNK_WIDTH = 0.16
_HEAD_RADIUS = 0.10
_HAND_RADIUS = 0.07
_KNOWN = 0.2  # keypoints below this confidence are not trusted to draw with
_TRUNK = (skeleton.LEFT_SHOULDER, skeleton.RIGHT_SHOULDER, skeleton.RIGHT_HIP, skeleton.LEFT_HIP)
_HEAD = (skeleton.NOSE, skeleton.LEFT_EYE, skeleton.RIGHT_EYE, skeleton.LEFT_EAR, skeleton.RIGHT_EAR)


def person_box(keypoints: Keypoints) -> NDArray[np.float64] | None:
    """Box (left, top, right, bottom) px around the known keypoints of one person (133, 3); None if fewer than 3."""
    known = keypoints[keypoints[:, 2] >= _KNOWN, :2]
    if len(known) < 3:
        return None
    return np.concatenate([known.min(axis=0), known.max(axis=0)]).astype(np.float64)


def person_size(keypoints: Keypoints) -> float:
    """Longer side of the person's box, px; 0 when the person is not known."""
    box = person_box(keypoints)
    return 0.0 if box is None else float(max(box[2] - box[0], box[3] - box[1]))


def crown(keypoints: Keypoints) -> NDArray[np.float64]:
    """Top of the head, px, (1, 2), beyond the last keypoint of the face; (0, 2) when head or shoulders are unknown."""
    known = keypoints[:, 2] >= _KNOWN
    head = [index for index in _HEAD if known[index]]
    neck = [index for index in (skeleton.LEFT_SHOULDER, skeleton.RIGHT_SHOULDER) if known[index]]
    if not head or not neck:
        return np.zeros((0, 2))
    middle = keypoints[head, :2].mean(axis=0, dtype=np.float64)
    base = keypoints[neck, :2].mean(axis=0, dtype=np.float64)
    return np.asarray(middle + 0.7 * (middle - base), dtype=np.float64)[None]


def silhouette(keypoints: Keypoints, height: int, width: int, *, scale: float = 1.0, grow: float = 1.0) -> Mask:
    """A generous body shape of one person, 255 inside.

    Args:
        keypoints: float32 (133, 3) in pixels of the full frame.
        height, width: of the mask, px.
        scale: mask pixels a frame pixel.
        grow: factor on all widths.

    Returns: uint8 (height, width); all 0 when the person is not known.
    """
    mask = np.zeros((height, width), dtype=np.uint8)
    size = person_size(keypoints) * scale
    if size <= 0:
        return mask
    known = keypoints[:, 2] >= _KNOWN
    points = np.rint((keypoints[:, :2] + 0.5) * scale - 0.5).astype(np.int32)
    limb = max(1, round(size * _LIMB_WIDTH * grow))
    for first, second in (*skeleton.BODY_BONES, *skeleton.FEET_BONES):
        if known[first] and known[second]:
            _line(mask, points[first], points[second], limb)
    trunk = points[[index for index in _TRUNK if known[index]]]
    if len(trunk) >= 3:
        cv2.fillConvexPoly(mask, cv2.convexHull(trunk), 255)
        for first, second in zip(trunk, np.roll(trunk, -1, axis=0), strict=True):
            _line(mask, first, second, max(1, round(size * _TRUNK_WIDTH * grow)))
    _discs(mask, points[[index for index in _HEAD if known[index]]], size * _HEAD_RADIUS * grow)
    for hand in (skeleton.LEFT_HAND, skeleton.RIGHT_HAND):
        _discs(mask, points[hand][known[hand]], size * _HAND_RADIUS * grow)
    return mask


def crowd(people: list[Keypoints], height: int, width: int, *, scale: float = 1.0, grow: float = 1.0) -> Mask:
    """Silhouettes of several people in one mask, as `silhouette`."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for person in people:
        np.maximum(mask, silhouette(person, height, width, scale=scale, grow=grow), out=mask)
    return mask


def same_person(first: Keypoints, second: Keypoints) -> bool:
    """Whether two poses (133, 3) of one frame are of one person: their known body joints lie close together."""
    both = (first[skeleton.BODY, 2] >= _KNOWN) & (second[skeleton.BODY, 2] >= _KNOWN)
    if not both.any():
        return False
    apart = np.linalg.norm(first[skeleton.BODY][both, :2] - second[skeleton.BODY][both, :2], axis=1)
    return float(np.median(apart)) < 0.1 * max(person_size(first), person_size(second))


def _line(mask: Mask, first: NDArray[np.int32], second: NDArray[np.int32], width: int) -> None:
    cv2.line(mask, (int(first[0]), int(first[1])), (int(second[0]), int(second[1])), 255, width)


def _discs(mask: Mask, points: NDArray[np.int32], radius: float) -> None:
    for point in points:
        cv2.circle(mask, (int(point[0]), int(point[1])), max(1, round(radius)), 255, cv2.FILLED)
