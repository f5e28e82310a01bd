"""From timestamps to one exact constant rate.

Every later stage counts frames, and the sound must fit at the end. So each decoded frame gets the number of the
nearest point of a constant grid. In a file of constant rate that is the identity, jitter of rounded timestamps
(Matroska's milliseconds) included. In a file of variable rate the grid is the one that most gaps between frames fit
(a telephone's 30/s with a few late frames stays 30/s); a frame is repeated over a gap and the second of two frames on
one point is left out. A gap that damage leaves is filled in the same way, so sound never drifts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from services.common.errors import VideoTooLong
from services.common.video.facts import Timing
from services.common.video.limits import VideoLimits

_FALLBACK_RATE = Fraction(25)
_MAX_RATE = Fraction(240)
_STANDARD_RATES = tuple(
    Fraction(rate)
    for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "120000/1001", "120",
                 "240", "5", "6", "8", "10", "12", "12000/1001", "12.5", "15", "15000/1001", "16", "20", "1", "2", "3")
)  # fmt: skip

Ticks = npt.NDArray[np.int64]


def scan_ticks(
    container: InputContainer, stream: VideoStream, limits: VideoLimits, check: Callable[[], None]
) -> tuple[Ticks, int, int]:
    """Presentation times of all frames in the file, sorted, by reading packets without decoding them.

    Returns (ticks (N,) int64, number of packets that carry no time, number of packets that an edit list hides).
    A damaged tail ends the scan.
    """
    ticks = array("q")
    untimed = hidden = 0
    try:
        for packet in container.demux(stream):
            check()
            if packet.size == 0:
                continue
            if packet.is_discard:
                hidden += 1
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None:
                untimed += 1
            else:
                ticks.append(stamp)
            if len(ticks) + untimed > limits.max_packets:
                raise VideoTooLong(
                    f"the file holds more than {limits.max_packets} frames; cut it first",
                    limit_packets=limits.max_packets,
                )
    except (av.FFmpegError, OSError):
        # What was read up to here is what there is; decoding will stop at the same place.
        pass
    times = np.sort(np.frombuffer(ticks, dtype=np.int64)) if ticks else np.empty(0, np.int64)
    return times, untimed, hidden


def choose_timing(ticks: Ticks, untimed: int, time_base: Fraction, hints: list[Fraction]) -> Timing:
    """The constant rate of a video and the grid of its frames.

    `ticks` (N,) sorted int64; `hints` are the container's own rates, used only where the timestamps agree.
    """
    hints = sorted((hint for hint in hints if 0 < hint <= _MAX_RATE), key=lambda hint: hint not in _STANDARD_RATES)
    count = len(ticks) + untimed
    unique = np.unique(ticks)
    median_gap = float(np.median(np.diff(unique))) * float(time_base) if len(unique) > 1 else 0.0
    if untimed or len(unique) < max(2, 0.5 * count) or _nonsense(unique, median_gap, time_base):
        rate = hints[0] if hints else _FALLBACK_RATE
        return Timing(rate, time_base, 0, 0.0, count, count, timed=False, variable=False)
    times = (unique - unique[0]) * float(time_base)
    standard_hints = [hint for hint in hints if hint in _STANDARD_RATES]
    candidates = [*standard_hints, *_STANDARD_RATES, *hints, *_fitted(unique, time_base)]
    fits = [_constant_fit(times, rate, float(time_base)) for rate in candidates]
    good = [(worst, order) for order, (worst, _) in enumerate(fits) if worst < 0.45]
    if good and len(unique) == len(ticks):
        # Several rates fit a short clip. A standard rate that the container names comes first in `candidates`, then
        # the standard rates, so the first that is not clearly worse than the best is taken.
        best = min(worst for worst, _ in good)
        slack = [0.02 + float(rate * time_base) / 2 for rate in candidates]
        order = next(order for worst, order in good if worst <= best + slack[order])
        return _timing(unique, count, candidates[order], time_base, fits[order][1], variable=False)
    rate = _prevailing_rate(times, median_gap, candidates)
    return _timing(unique, count, rate, time_base, 0.0, variable=True)


def _timing(ticks: Ticks, count: int, rate: Fraction, base: Fraction, shift: float, *, variable: bool) -> Timing:
    slots = round(float(int(ticks[-1] - ticks[0]) * base * rate) - shift) + 1
    return Timing(rate, base, int(ticks[0]), shift, slots, count, timed=True, variable=variable)


def _nonsense(ticks: Ticks, median_gap: float, time_base: Fraction) -> bool:
    """Timestamps that jump: one gap that is longer than a minute and than the whole rest of the video."""
    if len(ticks) < 3:
        return False
    gaps = np.diff(ticks) * float(time_base)
    widest = float(gaps.max())
    return median_gap <= 0 or widest > max(60.0, 2.0 * (float(gaps.sum()) - widest))


def _fitted(ticks: Ticks, time_base: Fraction) -> list[Fraction]:
    """The mean rate, exactly and with a small denominator."""
    span = int(ticks[-1] - ticks[0]) * time_base
    exact = Fraction(len(ticks) - 1) / span
    return [rate for rate in (exact.limit_denominator(1001), exact.limit_denominator(100_000)) if 0 < rate <= _MAX_RATE]


def _constant_fit(times: npt.NDArray[np.float64], rate: Fraction, tick: float) -> tuple[float, float]:
    """(largest deviation from the grid in frames, shift of the grid in frames) of frame i at time i / rate."""
    deviation = times * float(rate) - np.arange(len(times))
    low, high = float(deviation.min()), float(deviation.max())
    rounding = tick * float(rate) / 2
    shift = 0.0 if max(-low, high) <= rounding + 1e-6 else (low + high) / 2
    return max(high - shift, shift - low), shift


def _prevailing_rate(times: npt.NDArray[np.float64], median_gap: float, candidates: list[Fraction]) -> Fraction:
    """The rate whose grid most frames lie on, among those near the median gap."""
    near = [rate for rate in candidates if 0.8 < float(rate) * median_gap < 1.25]
    if not near:
        return max(Fraction(1), min(_MAX_RATE, Fraction(1 / median_gap).limit_denominator(1001)))

    def off_grid(rate: Fraction) -> float:
        gaps = np.diff(times) * float(rate)
        return float(np.mean(np.abs(gaps - np.maximum(1, np.round(gaps)))))

    errors = [off_grid(rate) for rate in near]
    best = min(errors)
    return next(rate for rate, error in zip(near, errors, strict=True) if error <= best + 1e-3)
