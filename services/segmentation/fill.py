"""Filling what was never seen of a background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

METHOD = "smooth diffusion from the seen surroundings, coarse to fine"


def fill_unseen(picture: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with unseen pixels made up smoothly from the seen ones around them.

    Pull-push (Gortler et al., "The Lumigraph", SIGGRAPH 1996) followed by a few relaxations a level: colours run
    smoothly into the hole from all sides; no texture is invented.

    Args:
        picture: uint8 (H, W, 3).
        seen: bool (H, W).

    Returns: uint8 (H, W, 3), equal to `picture` where `seen`; mid grey when nothing was seen.
    """
    if seen.all():
        return picture.copy()
    if not seen.any():
        return np.full_like(picture, 128)
    weight = seen.astype(np.float32)
    filled = _pull_push(picture.astype(np.float32) * weight[:, :, None], weight)
    result = np.rint(np.clip(filled, 0, 255)).astype(np.uint8)
    result[seen] = picture[seen]
    return result


def _pull_push(weighted: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours (h, w, 3) everywhere from weighted colours and weights (h, w), 0..1."""
    height, width = weight.shape
    known = weight > 0
    own = np.asarray(weighted / np.maximum(weight, np.float32(1e-6))[:, :, None], dtype=np.float32)
    if known.all() or height * width == 1:
        return own
    size = ((width + 1) // 2, (height + 1) // 2)
    sums = np.asarray(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    weights = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    # A cell is as trusted as its best quarter: a lone seen pixel speaks for its whole cell.
    gain = np.minimum(np.float32(1) / np.maximum(weights, np.float32(1e-6)), np.float32(4))
    coarse = _pull_push(sums * gain[:, :, None], weights * gain)
    pushed = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    blend = weight[:, :, None] * own + (1 - weight)[:, :, None] * pushed
    hole = ~known
    for _ in range(4):
        blend[hole] = cv2.blur(blend, (3, 3), borderType=cv2.BORDER_REPLICATE)[hole]
    return np.asarray(blend, dtype=np.float32)
