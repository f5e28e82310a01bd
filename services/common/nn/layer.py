"""The window's picture back into the full frame: over a background, or alone with its alpha. No torch needed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.camera import compose, invert

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Area = tuple[slice, slice]

# A sigmoid never says quite 0 or 1: what is this near counts as there, so that the plate is exact and bodies are solid.
_CLEAR, _SOLID = 0.03, 0.97
# Cubic interpolation reaches two px beyond.
_REACH_PX = 3
# Below this alpha a pixel's colour is a guess that fits the plate which the generator was trained over; above, its own.
_MIXED, _PURE = 0.75, 0.97
# How far pure colours are carried outwards, window px: first from near, then from afar.
_SPREADS_PX = (1.5, 4.0, 12.0)


def lay_over(plate: Picture, window: Floats, matrix: NDArray[np.float64]) -> Picture:
    """The window's person over the plate, resampled once.

    Args:
        plate: uint8 (H, W, 3).
        window: float32 (h, w, 4) in 0..1, colour not multiplied by alpha.
        matrix: float64 (2, 3), plate px to window px.

    Returns:
        uint8 (H, W, 3). Pixels that the person does not reach equal the plate's.
    """
    result = plate.copy()
    placed = _placed(window, matrix, plate.shape[1], plate.shape[0])
    if placed is not None:
        area, colour, cover = placed
        mixed = colour * (cover * 255.0) + result[area] * (1.0 - cover)
        result[area] = np.rint(mixed).astype(np.uint8)
    return result


def cut_out(window: Floats, matrix: NDArray[np.float64], width: int, height: int) -> tuple[Picture, Picture]:
    """The window's person alone, for a frame of `width` x `height` px; `matrix` maps its px to window px.

    Returns uint8 colour (H, W, 3), not multiplied by alpha and carried on outside the person, so that neither
    compression nor scaling draws a rim; and uint8 alpha (H, W).
    """
    alpha = np.zeros((height, width), dtype=np.uint8)
    placed = _placed(window, matrix, width, height)
    if placed is None:
        return np.zeros((height, width, 3), dtype=np.uint8), alpha
    area, colour, cover = placed
    weight = float(cover.sum())
    mean = (colour * cover).sum(axis=(0, 1)) / max(weight, 1e-6)
    picture = np.full((height, width, 3), np.rint(mean * 255.0), dtype=np.uint8)
    full = carried_outwards(colour, cover, mean.astype(np.float32))
    picture[area] = np.rint(np.where(cover > 0.05, colour, full) * 255.0).astype(np.uint8)
    alpha[area] = np.rint(cover[..., 0] * 255.0).astype(np.uint8)
    return picture, alpha


def decontaminated(window: Floats, factor: int = 1) -> Floats:
    """The window with the plate taken out of its edges: half-transparent pixels get the colour of the body beside them.

    The generator's loss sees colour and plate mixed; in half-transparent pixels it may keep some of the plate in the
    colour, which nobody sees over that plate and everybody over another background.

    window: float32 (h, w, 4) in 0..1, colour not multiplied by alpha. factor: how many times as large as the
    generator's own window it is. Returns the same; alpha is unchanged.
    """
    colour, alpha = window[..., :3], window[..., 3:]
    pure = np.clip((alpha - _MIXED) / (_PURE - _MIXED), 0.0, 1.0)
    beside = carried_outwards(colour, pure * pure, None, factor)
    own = pure * pure * (3.0 - 2.0 * pure)
    return np.concatenate([beside + (colour - beside) * own, alpha], axis=2).astype(np.float32)


def carried_outwards(colour: Floats, weight: Floats, beyond: Floats | None, factor: int = 1) -> Floats:
    """float32 (h, w, 3): the weighted mean of the colours nearby, from ever farther where none is near.

    weight: (h, w, 1) in 0..1. beyond: (3,), for what none reaches; None keeps the pixel's own colour there.
    """
    result = np.broadcast_to(beyond, colour.shape).astype(np.float32) if beyond is not None else colour.copy()
    weighted = np.concatenate([colour * weight, weight], axis=2)
    for sigma in reversed(_SPREADS_PX):
        near = cv2.GaussianBlur(weighted, (0, 0), factor * sigma, borderType=cv2.BORDER_REPLICATE)
        known = np.clip(near[..., 3:] * 20.0, 0.0, 1.0)
        result += (near[..., :3] / np.maximum(near[..., 3:], 1e-4) - result) * known
    return np.clip(result, 0.0, 1.0)


def _placed(window: Floats, matrix: NDArray[np.float64], width: int, height: int) -> tuple[Area, Floats, Floats] | None:
    """Where the person is in a frame of `width` x `height` px, colour (a, b, 3) and alpha (a, b, 1) there, 0..1."""
    left, top, across, down = cv2.boundingRect((window[..., 3] > _CLEAR).astype(np.uint8))
    if across == 0:
        return None
    window = window[top : top + down, left : left + across]
    alpha = np.clip((window[..., 3:] - _CLEAR) / (_SOLID - _CLEAR), 0.0, 1.0)
    # Colour goes multiplied by alpha: else the arbitrary colour of transparent pixels would bleed into the edge.
    layered = np.concatenate([window[..., :3] * alpha, alpha], axis=2)
    layered = np.pad(layered, ((_REACH_PX, _REACH_PX), (_REACH_PX, _REACH_PX), (0, 0)))
    back = compose(invert(matrix), np.array([[1.0, 0.0, left - _REACH_PX], [0.0, 1.0, top - _REACH_PX]]))
    area = _covered(back, layered.shape[1], layered.shape[0], width, height)
    size = (area[1].stop - area[1].start, area[0].stop - area[0].start)
    if min(size) <= 0:
        return None
    here = np.array([[1.0, 0.0, -area[1].start], [0.0, 1.0, -area[0].start]])
    layered = cv2.warpAffine(layered, compose(here, back), size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    cover: Floats = np.clip(layered[..., 3:], 0.0, 1.0).astype(np.float32)
    # Cubic interpolation overshoots at edges, alpha and colour by the same part: divided by it, colour stays right.
    colour: Floats = np.clip(layered[..., :3] / np.maximum(layered[..., 3:], 1e-3), 0.0, 1.0).astype(np.float32)
    return area, colour, cover


def _covered(matrix: NDArray[np.float64], width: int, height: int, across: int, down: int) -> Area:
    """Rows and columns of an `across` x `down` px frame that a `width` x `height` px picture reaches by `matrix`."""
    corners = np.array([[-1.0, -1.0], [width, -1.0], [-1.0, height], [width, height]]) @ matrix[:, :2].T
    corners += matrix[:, 2]
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
    columns = slice(int(np.clip(low[0], 0, across)), int(np.clip(high[0], 0, across)))
    rows = slice(int(np.clip(low[1], 0, down)), int(np.clip(high[1], 0, down)))
    return rows, columns
