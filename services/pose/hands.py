"""Hands are repaired and smoothed as they lie about their wrists.

A hand is lost oftener than its arm, and a wrist travels faster than a hand turns. A hand whose way through the frame is
filled and smoothed by itself is left behind by its arm, or shot past it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST

Keypoints = NDArray[np.float32]

_HANDS = ((LEFT_WRIST, LEFT_HAND), (RIGHT_WRIST, RIGHT_HAND))


def about_wrists(keypoints: Keypoints) -> Keypoints:
    """A copy whose hands' x and y are px from the wrist that they were found at; all else is as it was.

    No hand is surer than its wrist: one that is found where the wrist is hidden is, as a rule, the other hand.

    Args:
        keypoints: float32 (T, 133, 3), px of the frame.
    """
    held = keypoints.copy()
    for wrist, hand in _HANDS:
        at = keypoints[:, wrist, None]
        held[:, hand, 2] = np.minimum(held[:, hand, 2], at[..., 2])
        held[:, hand, :2] = np.where(held[:, hand, 2:] > 0, held[:, hand, :2] - at[..., :2], np.float32(0))
    return held


def onto_wrists(keypoints: Keypoints) -> Keypoints:
    """The reverse of `about_wrists`, at the wrists as they are now. A hand whose wrist is unknown is unknown.

    Args:
        keypoints: float32 (T, 133, 3), hands in px from their wrists. Returns px of the frame.
    """
    laid = keypoints.copy()
    for wrist, hand in _HANDS:
        at = keypoints[:, wrist, None]
        known = (laid[:, hand, 2:] > 0) & (at[..., 2:] > 0)
        laid[:, hand, :2] += at[..., :2]
        laid[:, hand] = np.where(known, laid[:, hand], np.float32(0))
    return laid
