"""How close pictures are to the truth: SSIM, PSNR, sharpness, flicker, over all pixels or inside a mask.

Pictures are uint8 (H, W, 3) RGB, masks bool (H, W). Needs numpy and OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

# Wang et al., "Image quality assessment: from error visibility to structural similarity" (TIP 2004).
_WINDOW_PX, _SIGMA_PX = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
# What a picture without any error is said to have; PSNR itself would be infinite, which JSON cannot hold.
PSNR_LIMIT_DB = 100.0


def ssim_map(first: Picture, second: Picture) -> Floats:
    """Structural similarity at each pixel, mean of the channels: float32 (H, W) in -1..1.

    Gaussian window of 11 px, sigma 1.5 px, data range 1, biased variances, as in the paper.
    """
    a, b = first.astype(np.float32) / 255.0, second.astype(np.float32) / 255.0
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a * mean_a
    var_b = _blur(b * b) - mean_b * mean_b
    cov = _blur(a * b) - mean_a * mean_b
    likeness = (2.0 * mean_a * mean_b + _C1) * (2.0 * cov + _C2)
    scores = likeness / ((mean_a * mean_a + mean_b * mean_b + _C1) * (var_a + var_b + _C2))
    return np.asarray(scores.mean(axis=2), dtype=np.float32)


def ssim(first: Picture, second: Picture, mask: Mask | None = None) -> float:
    """Mean of `ssim_map`, inside the mask where one is given (which must not be empty)."""
    scores = ssim_map(first, second)
    return float(scores.mean() if mask is None else scores[mask].mean())


def psnr_db(first: Picture, second: Picture, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio, dB, at most `PSNR_LIMIT_DB`."""
    error = (first.astype(np.float64) - second.astype(np.float64)) / 255.0
    mean = float(np.square(error if mask is None else error[mask]).mean())
    return PSNR_LIMIT_DB if mean == 0.0 else min(PSNR_LIMIT_DB, -10.0 * float(np.log10(mean)))


def sharpness(result: Picture, truth: Picture, mask: Mask) -> float:
    """Fine detail inside the mask relative to the truth's: mean |Laplacian| of one over the other's; 1 = truth."""
    detail = [np.abs(cv2.Laplacian(_grey(picture), cv2.CV_32F))[mask].mean() for picture in (result, truth)]
    return float(detail[0] / max(float(detail[1]), 1e-6))


def flicker(results: Sequence[Picture], truths: Sequence[Picture], masks: Sequence[Mask]) -> float:
    """How wrongly the picture changes from frame to frame, 0..1, 0 = as the truth does.

    Mean absolute difference between the change of the result and the change of the truth, over consecutive frames,
    where either frame's mask is set. nan when there are fewer than two frames.
    """
    errors = []
    for t in range(1, len(results)):
        change = [pictures[t].astype(np.float32) - pictures[t - 1].astype(np.float32) for pictures in (results, truths)]
        errors.append(float(np.abs(change[0] - change[1])[masks[t] | masks[t - 1]].mean()) / 255.0)
    return float(np.mean(errors)) if errors else float("nan")


def change_outside(pictures: Sequence[Picture], masks: Sequence[Mask]) -> float:
    """Mean absolute change from frame to frame where neither frame's mask is set, 0..1; nan for fewer than two frames.

    Of a still camera over a still place it is the noise: what a viewer sees as a background that swims.
    """
    changes = []
    for t in range(1, len(pictures)):
        outside = ~(masks[t] | masks[t - 1])
        if outside.any():
            change = pictures[t].astype(np.float32) - pictures[t - 1].astype(np.float32)
            changes.append(float(np.abs(change)[outside].mean()) / 255.0)
    return float(np.mean(changes)) if changes else float("nan")


def grow_mask(matte: NDArray[np.uint8], radius_px: int) -> Mask:
    """The pixels within `radius_px` of those whose alpha is above one half: bool (H, W)."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return np.asarray(cv2.dilate((matte > 127).astype(np.uint8), kernel) > 0)


def _blur(values: Floats) -> Floats:
    blurred = cv2.GaussianBlur(values, (_WINDOW_PX, _WINDOW_PX), _SIGMA_PX, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _grey(picture: Picture) -> Floats:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.float32) / 255.0
