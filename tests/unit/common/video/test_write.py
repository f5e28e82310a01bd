from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from services.common import errors
from services.common.video import probe, read_frames
from services.common.video.marking import DIGITAL_SOURCE_TYPE
from services.common.video.write import write_video
from tests.support.videos import number_of, numbered

SAYS = "This video is synthetic."


@pytest.mark.parametrize("video_format", ["mp4", "webm", "gif"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, video_format: Any) -> None:
    for name in ("a", "b"):
        write_video(numbered(20), tmp_path / name, Fraction(25), video_format=video_format, synthetic=SAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("video_format", ["mp4", "webm"])
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(10), Fraction(60000, 1001)])
def test_frames_and_rate_come_back(tmp_path: Path, video_format: Any, rate: Fraction) -> None:
    path = tmp_path / f"a.{video_format}"
    written = write_video(iter(numbered(40)), path, rate, video_format=video_format)
    assert (written.frame_count, written.has_audio, written.size_bytes) == (40, False, path.stat().st_size)
    facts = probe(path)
    assert facts.frame_rate == rate
    assert [number_of(frame) for _, frame in read_frames(path, facts)] == list(range(40))


def test_the_file_says_that_it_is_synthetic(tmp_path: Path) -> None:
    for video_format in ("mp4", "webm", "gif"):
        path = tmp_path / f"a.{video_format}"
        write_video(numbered(5), path, Fraction(25), video_format=video_format, synthetic=SAYS)
        with av.open(str(path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            assert tags["comment"] == SAYS
            assert sum(1 for _ in container.decode(video=0)) in {3, 5}
        assert DIGITAL_SOURCE_TYPE.encode() in path.read_bytes()


def test_mp4_is_what_players_want(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(numbered(10), path, Fraction(25))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (1, 1, 1, 1)


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    frames = [np.full((65, 97, 3), 90, np.uint8)] * 4
    written = write_video(frames, tmp_path / "a.mp4", Fraction(25))
    assert (written.width, written.height) == (98, 66)
    _, frame = next(read_frames(tmp_path / "a.mp4", probe(tmp_path / "a.mp4")))
    assert np.abs(frame.astype(int) - 90).max() <= 3


def test_gif_is_small_and_keeps_its_pace(tmp_path: Path) -> None:
    frames = [np.full((540, 960, 3), 5 * index, np.uint8) for index in range(50)]
    written = write_video(frames, tmp_path / "a.gif", Fraction(50), video_format="gif")
    assert (written.width, written.height) == (480, 270)
    with av.open(str(tmp_path / "a.gif")) as container:
        shown = list(container.decode(video=0))
    assert len(shown) == 15
    assert shown[-1].time == pytest.approx(0.94, abs=0.03)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidOption, match="choose mp4, webm, gif or png"):
        write_video(numbered(2), tmp_path / "a", Fraction(25), video_format="avi")  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput, match="no frames"):
        write_video([], tmp_path / "a.mp4", Fraction(25))
    with pytest.raises(errors.InvalidInput, match="all must be"):
        write_video([*numbered(2), np.zeros((10, 10, 3), np.uint8)], tmp_path / "a.mp4", Fraction(25))
