"""Fine detail from the target's own frames over what a network paints.

A network trained for minutes knows where everything is and leaves out what it cannot be sure of to the pixel: pores,
folds, the edges of stripes. A draft of the same pose has all of that, a little out of place. So the picture's coarse
part is the network's and its fine part the draft's: two bands of a multi-band blending (Burt and Adelson, "A
Multiresolution Spline with Application to Image Mosaics", 1983). The draft may be larger than the network's window:
then the result is sharper than the network's resolution allows.

Before that both are bent to meet halfway between where either sees the same things, by optical flow (DIS: Kroeger et
al., ECCV 2016): else a stripe or an eye would be seen twice, blurred where the network puts it and sharp beside it.
Either is a guess of where things are; halfway between two guesses is nearer to the truth than one of them.

A network that was trained for too short a time, or on too few frames, has the outline right before it has the colours
right. For such a one the coarse part, too, may be the draft's, wholly or by half. One that has not even the outline
right knows nothing of where things are, and the draft stays where it lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# What is finer than this is the draft's, px of a window of 256 px; other windows in proportion.
_SIGMA_PX = 2.5
# The draft's detail is dulled by its resampling and where two references are mixed; this makes up for it.
_GAIN = 1.4
# What is farther apart than this is not the same thing, px of a window of 256 px.
_FARTHEST_PX = 8.0
# Pictures are bent smoothly: over so many px of a window of 256 px.
_SMOOTH_PX = 2.0
# How far the network's picture is bent towards the draft; the draft is bent the rest of the way.
_MEETING = 0.5
# The network's picture is bent inside a box about the draft only; so far inside it this has come to its full amount,
# px of a window of 256 px.
_EASED_PX = 8
# Where the outline may be anywhere, a network says half of it everywhere. About this alpha its edges are steepened, by
# so much that they are as crisp as those of the film's mattes (services/trainer/EXPERIMENTS.md).
_EDGE, _EDGE_GAIN = 0.4, 1.5
# Only where the draft has something there is anything to do, and so far around it, px of a window of 256 px: what it is
# bent by, and what blurring reaches. In steps of so many px.
_MARGIN_PX, _STEP_PX = 12, 16
# OpenCV's flow crashes on pictures of a few px, and on strips: px of the window at least, and the longest that a strip
# may be for its width.
_LEAST_PX, _SLIMMEST = 48, 3
# Cut-outs are sharper than what they are compared with; this makes them alike.
_DULLING_PX = 1.5


@dataclass(frozen=True)
class DraftShare:
    """How much of a performer's picture is the draft's beside its fine detail; the rest is the network's.

    Attributes:
        colours: of the coarse colours, 0..1.
        outline: of alpha, 0..1. Above 0 the draft is shown where it lies, instead of bent; at 1 it is all that is seen.
    """

    colours: float = 0.0
    outline: float = 0.0


NO_SHARE = DraftShare()
"""Only the fine detail is the draft's."""


def add_detail(window: Floats, draft: Floats, side: int, share: DraftShare = NO_SHARE) -> Floats:
    """The window with the draft's detail inside the person, at the draft's size.

    Args:
        window: float32 (H, W, 4) in 0..1, the network's colour, not multiplied by alpha, and alpha.
        draft: float32 (f H, f W, 4), the same of the same pose, by `Puppet`.
        side: the resolution that the performer was trained at, px.
        share: how much else is the draft's.

    Returns:
        float32 (f H, f W, 4): alpha is the network's, with crisper edges, as far as it is not the draft's.
    """
    if share.outline == 1.0:
        return draft.copy()
    result = _together(window, draft, side / 256.0, share)
    edges = np.clip(_EDGE + _EDGE_GAIN * (_alpha(result) - _EDGE), 0.0, 1.0)
    if share.outline:
        edges += share.outline * (_alpha(draft) - edges)
    return np.asarray(cv2.insertChannel(edges, result, 3), dtype=np.float32)


def _together(window: Floats, draft: Floats, scale: float, share: DraftShare) -> Floats:
    """`add_detail` with edges as they are. scale: px of the window to one of 256."""
    factor = draft.shape[0] // window.shape[0]
    here = rows, columns = _about(draft, factor, scale)
    if rows.start == rows.stop:
        return _enlarged(window, draft.shape)
    there = slice(factor * rows.start, factor * rows.stop), slice(factor * columns.start, factor * columns.stop)
    layered = _layered(draft[there])
    if share.outline == 0.0:
        window = window.copy()
        window[here], layered = _met(window[here], layered, scale)
    result = _enlarged(window, draft.shape)
    result[there][..., :3] = _detailed(window[here], layered, _rgb(result[there]), scale, share.colours)
    return result


def _about(draft: Floats, factor: int, scale: float) -> tuple[slice, slice]:
    """Rows and columns of the window, where anything of the draft may come to lie: empty where it has nobody.

    They change by steps only, so that the flow's grid of points does not tremble along with the person.
    """
    height, width = (length // factor for length in draft.shape[:2])
    left, top, across, down = cv2.boundingRect((_alpha(draft) > 0).astype(np.uint8))
    if across == 0:
        return slice(0, 0), slice(0, 0)
    margin, step = math.ceil(_MARGIN_PX * scale), math.ceil(_STEP_PX * scale)
    spans = []
    for first, length, limit in ((top, down, height), (left, across, width)):
        start = max(0, (first // factor - margin) // step * step)
        spans.append(slice(start, min(limit, -(-(-(-(first + length) // factor) + margin) // step) * step)))
    longer = max(span.stop - span.start for span in spans)
    least = max(_LEAST_PX, -(-longer // _SLIMMEST))
    return _at_least(spans[0], least, height), _at_least(spans[1], least, width)


def _at_least(span: slice, length: int, limit: int) -> slice:
    """The span, grown to this length as far as there is room before and after it."""
    start = max(0, min(span.start, limit - length))
    return slice(start, min(limit, max(span.stop, start + length)))


def _detailed(window: Floats, draft: Floats, colour: Floats, scale: float, share: float) -> Floats:
    """The colours (f h, f w, 3), enlarged, of a window (h, w, 4) with the detail of a layered draft (f h, f w, 4).

    scale: px of the window to one of 256. share: of the coarse colours that is the draft's.
    """
    sigma = _SIGMA_PX * scale
    # What is blurred anyway is blurred at the window's size.
    drawn = _coarse(_reduced(draft, window.shape), sigma)
    coarse = (1.0 - share) * _coarse(_layered(window), sigma) + (share - _GAIN) * drawn
    opacity = _alpha(draft)
    alpha = np.clip(opacity, 0.0, 1.0)
    fine = np.clip(_rgb(draft) / _shown(opacity), 0.0, 1.0)
    reach = max(1, round(draft.shape[0] / window.shape[0] * scale))
    wanted = _enlarged(coarse, draft.shape) + _GAIN * fine
    colour += _thrice(alpha) * (_within(wanted, fine, colour, alpha > 0.5, reach) - colour)
    return colour


def _within(values: Floats, first: Floats, second: Floats, known: NDArray[np.bool_], reach: int) -> Floats:
    """`values` no darker and no brighter than what is within `reach` px in either picture, all (H, W, 3) in 0..1.

    Two pictures that differ coarsely would else give lines as of ink, which neither has. known: (H, W), where the
    first one counts.
    """
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    # Bounds need no more than eight bits, of which there is a quarter to go through.
    one, other = (cv2.convertScaleAbs(each, alpha=255.0) for each in (first, second))
    counts = cv2.merge([np.where(known, np.uint8(255), np.uint8(0))] * 3)
    darkest = cv2.min(cv2.erode(cv2.max(one, cv2.bitwise_not(counts)), kernel), cv2.erode(other, kernel))
    brightest = cv2.max(cv2.dilate(cv2.min(one, counts), kernel), cv2.dilate(other, kernel))
    low, high = (np.asarray(each, dtype=np.float32) * np.float32(1.0 / 255.0) for each in (darkest, brightest))
    return np.asarray(np.clip(values, low, high), dtype=np.float32)


def _thrice(plane: Floats) -> Floats:
    """(H, W) for each of three channels: operations on arrays of one shape are several times as fast as those that
    stretch one."""
    return np.asarray(cv2.merge([plane] * 3), dtype=np.float32)


def _shown(alpha: Floats) -> Floats:
    """What colours times alpha (H, W) are divided by: (H, W, 3), never 0."""
    return _thrice(np.maximum(alpha, np.float32(1e-3)))


def _alpha(picture: Floats) -> Floats:
    """A copy of the alpha (H, W) of (H, W, 4)."""
    return np.asarray(cv2.extractChannel(picture, 3), dtype=np.float32)


def _rgb(picture: Floats) -> Floats:
    """A copy of the colours of (H, W, 4)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), dtype=np.float32)


def _layered(picture: Floats) -> Floats:
    """(H, W, 4) with its colours multiplied by its alpha."""
    alpha = _alpha(picture)
    return np.asarray(picture * cv2.merge([alpha, alpha, alpha, np.ones_like(alpha)]), dtype=np.float32)


def _met(window: Floats, draft: Floats, scale: float) -> tuple[Floats, Floats]:
    """A window (h, w, 4) and a draft (f h, f w, 4), the latter layered, bent so that they lie on one another.

    Of the draft colour and alpha may overshoot alike. scale: px of the window to one of 256.
    """
    painted = _layered(window)
    height, width = window.shape[:2]
    factor = draft.shape[0] // height
    dulled = cv2.GaussianBlur(_grey(_reduced(draft, window.shape)), (0, 0), _DULLING_PX * scale)
    still = np.zeros((height, width, 2), np.float32)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(_grey(painted), dulled, still)
    flow = cv2.GaussianBlur(np.clip(flow, -_FARTHEST_PX * scale, _FARTHEST_PX * scale), (0, 0), _SMOOTH_PX * scale)
    there = _enlarged(np.asarray((1.0 - _MEETING) * factor * flow, dtype=np.float32), draft.shape)
    here = -_MEETING * flow * cv2.merge([_eased(height, width, _EASED_PX * scale)] * 2)
    met = _bent(window, np.asarray(here, dtype=np.float32), cv2.BORDER_REPLICATE)
    return np.clip(met, 0.0, 1.0), _bent(draft, there, cv2.BORDER_CONSTANT)


def _bent(picture: Floats, flow: Floats, border: int) -> Floats:
    """At each pixel the picture (H, W, 4) as it is `flow` (H, W, 2) px to the right and below."""
    x, y = cv2.split(flow)
    x += np.arange(flow.shape[1], dtype=np.float32)
    y += np.arange(flow.shape[0], dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=border), dtype=np.float32)


def _eased(height: int, width: int, over: float) -> Floats:
    """(H, W), from 0 at the edges to 1, `over` px inside them."""
    across, down = (
        np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / over) for length in (width, height)
    )
    return np.asarray(np.minimum(across, down[:, None]), dtype=np.float32)


def _grey(layered: Floats) -> NDArray[np.uint8]:
    """The figure, of a mean brightness of one half, before black: lit alike, two of them can be followed."""
    brightness, alpha = cv2.cvtColor(layered, cv2.COLOR_RGBA2GRAY), _alpha(layered)
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
    blurred = np.asarray(cv2.GaussianBlur(layered, (0, 0), sigma), dtype=np.float32)
    return _rgb(blurred) / _shown(_alpha(blurred))


def _enlarged(picture: Floats, shape: tuple[int, ...]) -> Floats:
    """A copy at the height and width of `shape`."""
    if picture.shape[:2] == shape[:2]:
        return picture.copy()
    return np.asarray(cv2.resize(picture, shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
