from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from services.common.video import extract_audio, probe, read_frames
from services.common.video.sound import read_samples
from services.common.video.write import write_video
from tests.support.videos import encode, numbered

RATE = 44_100


def _clicks(seconds: float, every: float = 1.0) -> np.ndarray:
    sound = np.zeros(round(seconds * RATE), np.int16)
    for click in np.arange(0.5, seconds, every):
        at = round(click * RATE)
        sound[at : at + 200] = 20_000
    return sound


def _click_times(path: Path, rate: int = RATE) -> list[float]:
    samples = np.concatenate(list(read_samples(path, rate, 1)))[:, 0]
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 6000)
    starts = loud[np.insert(np.diff(loud) > rate // 10, 0, True)]
    return [float(start / rate) for start in starts]


def test_the_sound_of_a_trim_begins_with_its_first_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(200), sound=_clicks(8.0))
    facts = probe(path, start_seconds=2.2, end_seconds=4.8)
    assert extract_audio(path, facts, tmp_path / "a.mka")
    assert _click_times(tmp_path / "a.mka") == pytest.approx([0.3, 1.3, 2.3], abs=0.002)
    length = sum(len(block) for block in read_samples(tmp_path / "a.mka", RATE, 1))
    assert length == round(facts.duration_seconds * RATE)


def test_after_a_long_way_in(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(250), rate=10, sound=_clicks(25.0))
    facts = probe(path, start_seconds=20.0)
    extract_audio(path, facts, tmp_path / "a.mka")
    assert _click_times(tmp_path / "a.mka")[:3] == pytest.approx([0.5, 1.5, 2.5], abs=0.002)


def test_no_sound_leaves_no_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(20))
    assert not extract_audio(path, probe(path), tmp_path / "a.mka")
    assert not (tmp_path / "a.mka").exists()


@pytest.mark.parametrize("video_format", ["mp4", "webm"])
def test_sound_and_picture_stay_together(tmp_path: Path, video_format: str) -> None:
    source = encode(tmp_path / "a.mp4", numbered(120), sound=_clicks(6.0))
    facts = probe(source)
    extract_audio(source, facts, tmp_path / "a.mka")
    result = tmp_path / f"b.{video_format}"
    frames = (frame for _, frame in read_frames(source, facts))
    written = write_video(frames, result, Fraction(25), audio_path=tmp_path / "a.mka", video_format=video_format)  # type: ignore[arg-type]
    assert written.has_audio
    again = probe(result)
    extract_audio(result, again, tmp_path / "b.mka")
    # 120 frames are 4.8 s: the clicks after them are cut off.
    assert _click_times(tmp_path / "b.mka", 48_000) == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5], abs=0.004)
