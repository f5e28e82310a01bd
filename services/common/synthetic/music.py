"""A simple beat, so that sound and picture can be seen to belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.common.synthetic.dance import Dance
from services.common.video.sound import write_flac

_RATE = 44_100


def write_beat(path: Path, dance: Dance, duration_seconds: float) -> None:
    """Writes a drum on each of the dance's beats, a hat between them and a bass line, as FLAC in Matroska."""
    rng = np.random.default_rng(dance.seed)
    length = round(duration_seconds * _RATE)
    sound = np.zeros(length + _RATE)
    notes = 55.0 * 2.0 ** (rng.integers(0, 8, 8) / 12.0)
    for beat in range(int(duration_seconds / dance.beat_seconds) + 1):
        start = round(beat * dance.beat_seconds * _RATE)
        _add(sound, start, _drum())
        _add(sound, start, 0.25 * _tone(float(notes[beat % 8]), dance.beat_seconds * 0.8))
        _add(sound, start + round(dance.beat_seconds / 2 * _RATE), 0.15 * _hat(rng))
    samples = np.clip(sound[:length] * 0.6 * 32767, -32768, 32767).astype(np.int16)
    write_flac(iter([np.stack([samples, samples], axis=1)]), path, _RATE, 2, length)


def _add(sound: np.ndarray, start: int, part: np.ndarray) -> None:
    sound[start : start + len(part)] += part[: max(0, len(sound) - start)]


def _drum() -> np.ndarray:
    t = np.arange(round(0.18 * _RATE)) / _RATE
    return np.asarray(np.sin(2 * np.pi * (45 * t + 6 * (1 - np.exp(-t * 30)))) * np.exp(-t * 18))


def _hat(rng: np.random.Generator) -> np.ndarray:
    t = np.arange(round(0.05 * _RATE)) / _RATE
    return np.asarray(np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-t * 90))


def _tone(hertz: float, seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * _RATE)) / _RATE
    return np.asarray((np.sin(2 * np.pi * hertz * t) + 0.4 * np.sin(4 * np.pi * hertz * t)) * np.exp(-t * 4))
