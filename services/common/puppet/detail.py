"""Fine detail from the target's own frames over what a network paints.

A network trained for minutes knows where everything is and leaves out what it cannot be sure of to the pixel: pores,
folds, the edges of stripes. A draft of the same pose has all of that, a little out of place. So the picture's coarse
part is the network's and its fine part the draft's: two bands of a multi-band blending (Burt and Adelson, "A
Multiresolution Spline with Application to Image Mosaics", 1983). The draft may be larger than the network's window:
then the result is sharper than the network's resolution allows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# What is finer than this is the draft's, px of a window of 256 px; other windows in proportion.
_SIGMA_PX = 2.5
# The draft's detail is dulled by its resampling and where two references are mixed; this makes up for it.
_GAIN = 1.3


def add_detail(window: Floats, draft: Floats, side: int) -> Floats:
    """The window with the draft's detail inside the person, at the draft's size.

    Args:
        window: float32 (H, W, 4) in 0..1, the network's colour, not multiplied by alpha, and alpha.
        draft: float32 (f H, f W, 4), the same of the same pose, by `Puppet`.
        side: the resolution that the performer was trained at, px.

    Returns:
        float32 (f H, f W, 4): alpha is the network's.
    """
    sigma = _SIGMA_PX * side / 256.0
    height, width = window.shape[:2]
    layered = np.concatenate([draft[..., :3] * draft[..., 3:], draft[..., 3:]], axis=2)
    if draft.shape[:2] != (height, width):
        # What is blurred anyway is blurred at the window's size.
        layered = cv2.resize(layered, (width, height), interpolation=cv2.INTER_AREA)
    coarse = _coarse(np.concatenate([window[..., :3] * window[..., 3:], window[..., 3:]], axis=2), sigma)
    coarse -= _GAIN * _coarse(layered, sigma)
    result = _enlarged(window, draft.shape)
    left, top, across, down = cv2.boundingRect((draft[..., 3] > 0).astype(np.uint8))
    there = (slice(top, top + down), slice(left, left + across))
    alpha, colour = draft[there][..., 3:], result[there][..., :3]
    colour += alpha * (_enlarged(coarse, draft.shape)[there] + _GAIN * draft[there][..., :3] - colour)
    np.clip(colour, 0.0, 1.0, out=colour)
    return result


def _coarse(layered: Floats, sigma: float) -> Floats:
    """float32 (h, w, 3): the colours of (h, w, 4), which are multiplied by their alpha, blurred inside the figure:
    divided by the blurred alpha, its outline leaves no trace."""
    blurred = cv2.GaussianBlur(layered, (0, 0), sigma)
    return np.asarray(blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-3), dtype=np.float32)


def _enlarged(picture: Floats, shape: tuple[int, ...]) -> Floats:
    """A copy at the height and width of `shape`."""
    if picture.shape[:2] == shape[:2]:
        return picture.copy()
    return np.asarray(cv2.resize(picture, shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
