"""Black bars: found over time, cropped only when nothing else can be meant.

A night scene has dark edges too. So a bar counts only when, in every sampled frame, all of its pixels are black, it
has a partner of the same size on the other side, and the picture begins at a clear step.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from services.common.video.colour import RGB
from services.common.video.facts import Crop

_BLACK = 20
"""Brightest channel of a bar's pixel, 0..255; limited-range black after lossy coding stays below."""
_STEP = 24
"""The picture's first lines must be brighter than black by this, in some pixels of some frame."""
_MIN_BAR_PX = 4
_MIN_BAR_FRACTION = 0.015
_MIN_KEPT_FRACTION = 0.25


class BarFinder:
    """Collects the brightest value that each line ever has. Feed it frames, then ask for `crop`."""

    def __init__(self) -> None:
        self._rows: npt.NDArray[np.uint8] | None = None
        self._columns: npt.NDArray[np.uint8] | None = None

    def add(self, frame: RGB) -> None:
        """One upright RGB frame (H, W, 3) uint8."""
        bright = frame.max(axis=2)
        # 99.8 %: a bar may carry a few pixels of ringing or a hot pixel.
        rows = np.percentile(bright, 99.8, axis=1, method="lower").astype(np.uint8)
        columns = np.percentile(bright, 99.8, axis=0, method="lower").astype(np.uint8)
        self._rows = rows if self._rows is None else np.maximum(self._rows, rows)
        self._columns = columns if self._columns is None else np.maximum(self._columns, columns)

    @property
    def ruled_out(self) -> bool:
        """Whether the frames so far already show that there are no bars."""
        return self._rows is not None and self._bars() == (0, 0, 0, 0)

    def _bars(self) -> tuple[int, int, int, int]:
        assert self._rows is not None
        assert self._columns is not None
        top, bottom = _pair(self._rows)
        left, right = _pair(self._columns)
        return left, top, right, bottom

    def crop(self) -> Crop | None:
        """The picture without its bars; None when there are none (or nothing but black was seen)."""
        if self._rows is None or self._columns is None:
            return None
        height, width = len(self._rows), len(self._columns)
        left, top, right, bottom = self._bars()
        kept = Crop(left, top, width - left - right, height - top - bottom)
        if (kept.width, kept.height) == (width, height):
            return None
        enough = kept.width * kept.height >= _MIN_KEPT_FRACTION * width * height
        return kept if enough else None


def _pair(lines: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Widths of the two bars at both ends of (N,) line maxima; (0, 0) unless both are there and alike."""
    lit = np.flatnonzero(lines > _BLACK)
    if len(lit) == 0:
        return 0, 0
    first, last = int(lit[0]), len(lines) - 1 - int(lit[-1])
    needed = max(_MIN_BAR_PX, _MIN_BAR_FRACTION * len(lines))
    alike = abs(first - last) <= max(4, 0.01 * len(lines))
    if min(first, last) < needed or not alike:
        return 0, 0
    edge = max(2, len(lines) // 100)
    for inner in (lines[first : first + edge], lines[len(lines) - last - edge : len(lines) - last]):
        if int(inner.max()) < _BLACK + _STEP:
            return 0, 0
    return first, last


def find_crop(frames: Iterable[RGB]) -> Crop | None:
    """Crop of a clip, looking at no more frames than it takes to rule bars out."""
    finder = BarFinder()
    for frame in frames:
        finder.add(frame)
        if finder.ruled_out:
            return None
    return finder.crop()
