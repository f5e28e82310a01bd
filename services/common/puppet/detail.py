"""Fine detail from the target's own frames over what a network paints.

A network trained for minutes knows where everything is and leaves out what it cannot be sure of to the pixel: pores,
folds, the edges of stripes. A draft of the same pose has all of that, a little out of place. So the picture's coarse
part is the network's and its fine part the draft's: two bands of a multi-band blending (Burt and Adelson, "A
Multiresolution Spline with Application to Image Mosaics", 1983). The draft may be larger than the network's window:
then the result is sharper than the network's resolution allows.

Before that the draft is bent to lie where the network sees the same things, by optical flow (DIS: Kroeger et al., ECCV
2016): else a stripe or an eye would be seen twice, blurred where the network puts it and sharp beside it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# What is finer than this is the draft's, px of a window of 256 px; other windows in proportion.
_SIGMA_PX = 2.5
# The draft's detail is dulled by its resampling and where two references are mixed; this makes up for it.
_GAIN = 1.4
# The draft is bent by so much at most, px of a window of 256 px: what is farther away is not the same thing.
_FARTHEST_PX = 8.0
# It is bent smoothly: over so many px of a window of 256 px.
_SMOOTH_PX = 2.0
# Where the outline may be anywhere, a network says half of it everywhere. About this alpha its edges are steepened, by
# so much that they are as crisp as those of the film's mattes (services/trainer/README.md).
_EDGE, _EDGE_GAIN = 0.4, 1.5
# Cut-outs are sharper than what they are compared with; this makes them alike.
_DULLING_PX = 1.5


def add_detail(window: Floats, draft: Floats, side: int) -> Floats:
    """The window with the draft's detail inside the person, at the draft's size.

    Args:
        window: float32 (H, W, 4) in 0..1, the network's colour, not multiplied by alpha, and alpha.
        draft: float32 (f H, f W, 4), the same of the same pose, by `Puppet`.
        side: the resolution that the performer was trained at, px.

    Returns:
        float32 (f H, f W, 4): alpha is the network's, with crisper edges.
    """
    sigma, height = _SIGMA_PX * side / 256.0, window.shape[0]
    painted = _layered(window)
    layered = _aligned(_layered(draft), painted, side / 256.0)
    # What is blurred anyway is blurred at the window's size.
    coarse = _coarse(painted, sigma) - _GAIN * _coarse(_reduced(layered, window.shape), sigma)
    result = _enlarged(window, draft.shape)
    result[..., 3] = np.clip(_EDGE + _EDGE_GAIN * (result[..., 3] - _EDGE), 0.0, 1.0)
    left, top, across, down = cv2.boundingRect((layered[..., 3] > 0).astype(np.uint8))
    if across == 0:
        return result
    there = (slice(top, top + down), slice(left, left + across))
    bent, colour = layered[there], result[there][..., :3]
    alpha = np.clip(bent[..., 3:], 0.0, 1.0)
    fine = np.clip(bent[..., :3] / np.maximum(bent[..., 3:], 1e-3), 0.0, 1.0).astype(np.float32)
    reach = max(1, round(draft.shape[0] / height * side / 256.0))
    wanted = np.asarray(_enlarged(coarse, draft.shape)[there] + _GAIN * fine, dtype=np.float32)
    colour += alpha * (_within(wanted, fine, colour, alpha > 0.5, reach) - colour)
    return result


def _within(values: Floats, first: Floats, second: Floats, known: NDArray[np.bool_], reach: int) -> Floats:
    """`values` no darker and no brighter than what is within `reach` px in either picture, all (H, W, 3).

    Two pictures that differ coarsely would else give lines as of ink, which neither has. known: (H, W, 1), where the
    first one counts.
    """
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    low, high = np.where(known, first, np.float32(1.0)), np.where(known, first, np.float32(0.0))
    second = np.ascontiguousarray(second)
    darkest = np.minimum(cv2.erode(low, kernel), cv2.erode(second, kernel))
    brightest = np.maximum(cv2.dilate(high, kernel), cv2.dilate(second, kernel))
    return np.asarray(np.clip(values, darkest, brightest), dtype=np.float32)


def _layered(picture: Floats) -> Floats:
    """(H, W, 4) with its colours multiplied by its alpha."""
    return np.concatenate([picture[..., :3] * picture[..., 3:], picture[..., 3:]], axis=2)


def _aligned(draft: Floats, window: Floats, scale: float) -> Floats:
    """The draft (f h, f w, 4) bent to lie on the window (h, w, 4), both layered; colour and alpha may overshoot alike.

    scale: px of the window to one of 256.
    """
    height, width = window.shape[:2]
    factor = draft.shape[0] // height
    dulled = cv2.GaussianBlur(_grey(_reduced(draft, window.shape)), (0, 0), _DULLING_PX * scale)
    still = np.zeros((height, width, 2), np.float32)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(_grey(window), dulled, still)
    flow = cv2.GaussianBlur(np.clip(flow, -_FARTHEST_PX * scale, _FARTHEST_PX * scale), (0, 0), _SMOOTH_PX * scale)
    flow = factor * _enlarged(np.asarray(flow, np.float32), draft.shape)
    x, y = np.meshgrid(np.arange(factor * width, dtype=np.float32), np.arange(factor * height, dtype=np.float32))
    bent = cv2.remap(draft, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(bent, dtype=np.float32)


def _grey(layered: Floats) -> NDArray[np.uint8]:
    """The figure, of a mean brightness of one half, before black: lit alike, two of them can be followed."""
    brightness, alpha = cv2.cvtColor(layered[..., :3], cv2.COLOR_RGB2GRAY), layered[..., 3]
    level = 0.5 - brightness.sum() / max(float(alpha.sum()), 1e-3)
    return np.asarray(np.clip(255.0 * (brightness + level * alpha), 0.0, 255.0), dtype=np.uint8)


def _reduced(layered: Floats, shape: tuple[int, ...]) -> Floats:
    """At the height and width of `shape`, each pixel the mean of those that it covers."""
    if layered.shape[:2] == shape[:2]:
        return layered
    return np.asarray(cv2.resize(layered, shape[1::-1], interpolation=cv2.INTER_AREA), dtype=np.float32)


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
