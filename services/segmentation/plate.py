"""The empty background of a clip: the median over time of what is not hidden, in the registered camera.

A bounded, evenly spaced sample of frames is looked at, in bands of rows, so that memory depends on neither the
clip's length nor the frame's size. Pixels near a person carry that person's shadow, so they count only where too few
samples show the background from afar; and the shadow, a faint and smooth darkening, is then taken out of them. A fifth
of the sample is held out: its background pixels say how far the plate is from the truth. Where the others never saw the
background but the held-out frames did, those are used as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common import camera
from services.segmentation.fill import METHOD, fill_unseen

Image = NDArray[np.uint8]

HIDDEN = 255
NEAR = 128

_SAMPLES = 75
_HELD_OUT_EVERY = 5
_BAND_BYTES = 220_000_000
_STRIPS = 8  # of rows, on which the unregistered plate is made for comparison
_STRIP_SHARE = 0.25  # of all rows
_ENOUGH_AFAR = 3  # samples
# What is coarse: this part of the height. Darkenings and colours, of 255, that a shadow may have, and that it has not.
_COARSE = 0.012
_FAINT, _STRONG = 16.0, 40.0
_GREY, _COLOURED = 4.0, 12.0
_FEW_SEEN = 0.9
_LARGE_ERROR = 10.0


class PlateFrames(Protocol):
    """A clip's frames and what hides the background in them, as filmed."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def __len__(self) -> int: ...

    def rgb(self, index: int) -> Image:
        """uint8 (H, W, 3)."""
        ...

    def hidden(self, index: int) -> Image:
        """uint8 (H, W): HIDDEN where somebody, or the rim of somebody's matte, hides the background, NEAR where
        somebody is near enough for a shadow, 0 elsewhere."""
        ...


@dataclass(frozen=True)
class Plate:
    """picture: uint8 (H, W, 3) RGB in the registered camera. seen: bool (H, W), False where it is filled.
    Errors: mean absolute difference from held-out background pixels, of 255; nan when there were none."""

    picture: Image
    seen: NDArray[np.bool_]
    heldout_error: float
    heldout_error_unregistered: float
    fill_method: str
    warnings: list[str]

    @property
    def seen_fraction(self) -> float:
        return float(self.seen.mean())


def build_plate(
    frames: PlateFrames, matrices: NDArray[np.float64], step: Callable[[int, int], None] = lambda _done, _total: None
) -> Plate:
    """The plate of a clip.

    Args:
        frames: the clip.
        matrices: float64 (T, 2, 3), frames as filmed to the registered camera.
        step: called with (samples done, samples in all); may raise to stop.
    """
    sample = sample_frames(len(frames))
    bands = list(_bands(len(sample), frames.width, frames.height))
    moved = not np.array_equal(matrices, np.broadcast_to(camera.identity(), matrices.shape))
    strips = _strips(frames.height) if moved else []
    work = _Progress(step, len(sample) * (len(bands) + bool(strips)))
    parts = [_median_of(_load(frames, matrices, sample, [band], work)) for band in bands]
    seen = np.concatenate([part.seen for part in parts])
    shaded = np.concatenate([part.shaded for part in parts])
    picture = without_shadow(np.concatenate([part.picture for part in parts]), seen, shaded)
    error = _mean_error(parts)
    unregistered = error
    if strips:
        still = np.broadcast_to(camera.identity(), matrices.shape)
        unregistered = _mean_error([_median_of(_load(frames, still, sample, strips, work))])
    filled = fill_unseen(picture, seen)
    method = "none" if seen.all() else METHOD
    return Plate(filled, seen, error, unregistered, method, _warnings(float(seen.mean()), error))


def sample_frames(count: int) -> list[int]:
    """Which frames of a clip of `count` are looked at: at most 75, evenly spaced."""
    number = min(count, _SAMPLES)
    return [round(index) for index in np.linspace(0, count - 1, number).tolist()]


@dataclass(frozen=True)
class _Stack:
    """Samples of some rows in one camera. pictures: uint8 (N, h, w, 3). seen, used: bool (N, h, w). shaded: bool
    (h, w), where no sample shows the background from afar, or too few do."""

    pictures: Image
    seen: NDArray[np.bool_]
    used: NDArray[np.bool_]  # those of the seen that the median is taken of
    shaded: NDArray[np.bool_]


@dataclass(frozen=True)
class _Part:
    """Median of some rows, and the sum and number of absolute errors on held-out pixels' channels."""

    picture: Image
    seen: NDArray[np.bool_]
    shaded: NDArray[np.bool_]
    error_sum: float
    error_count: int


class _Progress:
    def __init__(self, step: Callable[[int, int], None], total: int) -> None:
        self._step, self._total, self._done = step, total, 0

    def one(self) -> None:
        self._done += 1
        self._step(self._done, self._total)


def _bands(samples: int, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Runs of rows (first, end) whose samples fit into the memory that is allowed."""
    rows = max(1, min(height, _BAND_BYTES // (samples * width * 3)))
    for first in range(0, height, rows):
        yield first, min(height, first + rows)


def _strips(height: int) -> list[tuple[int, int]]:
    rows = max(1, round(height * _STRIP_SHARE / _STRIPS))
    return [(first, first + rows) for first in np.linspace(0, height - rows, _STRIPS).astype(int).tolist()]


def _load(
    frames: PlateFrames,
    matrices: NDArray[np.float64],
    sample: list[int],
    runs: list[tuple[int, int]],
    work: _Progress,
) -> _Stack:
    """The sample's rows `runs`, one below the other, in the camera that `matrices` map to."""
    height = sum(end - first for first, end in runs)
    pictures = np.empty((len(sample), height, frames.width, 3), dtype=np.uint8)
    seen = np.empty((len(sample), height, frames.width), dtype=np.bool_)
    afar = np.empty_like(seen)
    for number, index in enumerate(sample):
        rgb, hidden = frames.rgb(index), frames.hidden(index)
        free = np.where(hidden == 0, 255, np.where(hidden < HIDDEN, 254, 0)).astype(np.uint8)
        top = 0
        for first, end in runs:
            size = (frames.width, end - first)
            matrix = camera.compose(camera.window(0, first, *size, size), matrices[index])
            rows = slice(top, top + end - first)
            pictures[number, rows] = camera.warp(rgb, matrix, size)
            # Above 253 only where every pixel that the sample is mixed from is free and inside the frame.
            free_here = camera.warp(free, matrix, size, border="zero")
            seen[number, rows], afar[number, rows] = free_here >= 254, free_here == 255
            top += end - first
        work.one()
    # Where the background is seen from afar often enough, nothing else counts.
    few = afar.sum(axis=0) < _ENOUGH_AFAR
    for used, all_seen in zip(afar, seen, strict=True):
        used[few] = all_seen[few]
    return _Stack(pictures, seen, afar, few)


def _median_of(stack: _Stack) -> _Part:
    held_out = np.arange(len(stack.pictures)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2
    if len(held_out) < _HELD_OUT_EVERY:
        held_out[:] = False
    picture, seen = masked_median(stack.pictures, stack.used, np.flatnonzero(~held_out))
    error_sum, error_count = 0.0, 0
    for number in np.flatnonzero(held_out):
        judged = stack.seen[number] & seen
        error_sum += float(
            np.abs(stack.pictures[number][judged].astype(np.int16) - picture[judged]).sum(dtype=np.int64)
        )
        error_count += 3 * int(judged.sum())
    if held_out.any():
        late, late_seen = masked_median(stack.pictures, stack.seen, np.flatnonzero(held_out))
        only = late_seen & ~seen
        picture[only] = late[only]
        seen = seen | late_seen
    return _Part(picture, seen, stack.shaded, error_sum, error_count)


def without_shadow(picture: Image, seen: NDArray[np.bool_], shaded: NDArray[np.bool_]) -> Image:
    """The picture with what is `shaded` lit like its surroundings.

    How much darker it is, coarsely, than what runs smoothly into it from all sides is taken away where that is faint
    and grey. Where it is strong or coloured it is a thing and no shadow, and stays, as does all fine detail.

    picture: uint8 (H, W, 3). seen, shaded: bool (H, W). Returns uint8 (H, W, 3), unchanged where nothing is shaded.
    """
    clear = seen & ~shaded
    wanted = seen & shaded
    if not wanted.any() or not clear.any():
        return picture
    difference = picture.astype(np.float32) - fill_unseen(picture, clear)
    weight = wanted.astype(np.float32)
    sigma = _COARSE * picture.shape[0]
    coarse = _blurred(difference * weight[..., None], sigma) / np.maximum(_blurred(weight, sigma), 1e-3)[..., None]
    mean = coarse.mean(axis=2, keepdims=True)
    coloured = np.abs(coarse - mean).max(axis=2, keepdims=True)
    coarse *= (mean < 0.0) * _falling(-mean, _FAINT, _STRONG) * _falling(coloured, _GREY, _COLOURED)
    result = picture.copy()
    result[wanted] = np.rint(np.clip(picture[wanted] - coarse[wanted], 0.0, 255.0)).astype(np.uint8)
    return result


def _falling(values: NDArray[np.float32], full: float, none: float) -> NDArray[np.float32]:
    """1 up to `full`, 0 from `none` on."""
    return np.asarray(np.clip((none - values) / (none - full), 0.0, 1.0), dtype=np.float32)


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blurred at a reduced size: what is wanted is coarse."""
    factor = max(1, int(sigma // 2))
    size = (max(1, values.shape[1] // factor), max(1, values.shape[0] // factor))
    small = cv2.GaussianBlur(cv2.resize(values, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / factor)
    return np.asarray(cv2.resize(small, values.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def masked_median(
    pictures: Image, seen: NDArray[np.bool_], chosen: NDArray[np.intp]
) -> tuple[Image, NDArray[np.bool_]]:
    """Median over time of the seen samples of each pixel and channel.

    pictures: uint8 (N, h, w, 3). seen: bool (N, h, w). chosen: int (n,), the samples that take part, at most 255.
    Returns uint8 (h, w, 3), 0 where nothing was seen, and bool (h, w), whether anything was.
    """
    height, width = seen.shape[1:]
    median = np.empty((height, width, 3), dtype=np.uint8)
    number = np.empty((height, width), dtype=np.uint8)
    rows = max(1, 2_000_000 // max(1, len(chosen) * width * 3))  # small enough for the processor's cache
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        visible = seen[chosen, band]
        number[band] = visible.sum(axis=0, dtype=np.uint8)
        values = np.where(visible[..., None], pictures[chosen, band], np.uint8(255))
        count = number[band, :, None].astype(np.int16)
        low, high = (_order_statistic(values, np.maximum(rank, 0)) for rank in ((count - 1) // 2, count // 2))
        median[band] = (low.astype(np.uint16) + high + 1) // 2
    median[number == 0] = 0
    return median, number > 0


def _order_statistic(values: Image, rank: NDArray[np.int16]) -> Image:
    """The value with `rank` smaller ones before it, along the first axis: found bit by bit, by counting.

    values: uint8 (N, h, w, c). rank: (h, w, 1) below N. Counting is several times as fast as sorting here.
    """
    found = np.zeros(values.shape[1:], dtype=np.uint8)
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        tried = found + np.uint8(bit)
        smaller = (values < tried).sum(axis=0, dtype=np.uint8)
        found = np.where(smaller <= rank, tried, found)
    return found


def _mean_error(parts: list[_Part]) -> float:
    count = sum(part.error_count for part in parts)
    return sum(part.error_sum for part in parts) / count if count else float("nan")


def _warnings(seen_fraction: float, error: float) -> list[str]:
    found = []
    if seen_fraction < _FEW_SEEN:
        found.append(f"{1 - seen_fraction:.0%} of the background was never seen and is made up from its surroundings")
    if error > _LARGE_ERROR:
        found.append(f"the background differs by {error:.0f} of 255 from frame to frame: it moves or its light changes")
    return found
