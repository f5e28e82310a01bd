from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from services.common import errors
from services.common.video import VideoLimits, probe
from tests.support.videos import encode, numbered, sound_only


def test_facts_of_a_plain_video(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(30), rate=Fraction(30000, 1001), sound=np.zeros(44_100, np.int16))
    facts = probe(path)
    assert (facts.width, facts.height, facts.frame_count) == (96, 64, 30)
    assert facts.frame_rate == Fraction(30000, 1001)
    assert facts.has_audio
    assert facts.codec == "h264"
    assert "mp4" in facts.container
    assert facts.warnings == ()


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp4", "libx264", 24), ("a.mov", "mjpeg", 25), ("a.mkv", "libx264", Fraction(24000, 1001)),
        ("a.webm", "libvpx-vp9", Fraction(30000, 1001)), ("a.avi", "mpeg4", 10), ("a.avi", "mjpeg", 15),
        ("a.ts", "mpeg2video", 25), ("a.flv", "flv", 30), ("a.mkv", "ffv1", 50),
        ("a.mkv", "libx264", Fraction(60000, 1001)),
    ],
)  # fmt: skip
def test_containers_and_exact_rates(tmp_path: Path, name: str, codec: str, rate: Fraction | int) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    facts = probe(encode(tmp_path / name, numbered(60), rate=rate, codec=codec, pixel_format=pixel_format))
    assert facts.frame_rate == rate
    assert facts.frame_count == 60


def test_text_that_calls_itself_a_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("Dear diary, today I danced.\n" * 40)
    with pytest.raises(errors.UnreadableVideo, match=r"the file \(1120 bytes\) is not a video"):
        probe(path)


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableVideo, match="there is no file"):
        probe(tmp_path / "nowhere.mp4")
    with pytest.raises(errors.UnreadableVideo, match="is not a file"):
        probe(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(errors.UnreadableVideo, match="empty"):
        probe(tmp_path / "empty.mp4")


def test_mp4_without_its_index(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(30))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.UnreadableVideo, match="index is missing"):
        probe(path)


def test_mp4_cut_short_with_its_index_first(tmp_path: Path) -> None:
    frames = [np.random.default_rng(i).integers(0, 255, (64, 96, 3), np.uint8) for i in range(40)]
    path = encode(tmp_path / "a.mp4", frames, container_options={"movflags": "+faststart"}, options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    facts = probe(path)
    assert 10 < facts.frame_count < 30
    assert any("cut short" in warning and "of its 40 frames" in warning for warning in facts.warnings)


def test_sound_without_picture(tmp_path: Path) -> None:
    with pytest.raises(errors.NoVideoStream, match="no picture, only 1 sound track;"):
        probe(sound_only(tmp_path / "a.mp4"))


def test_one_frame(tmp_path: Path) -> None:
    with pytest.raises(errors.VideoTooShort, match="has 1 frame and at least 2"):
        probe(encode(tmp_path / "a.mp4", numbered(1)))


def test_tiny_and_huge_frames(tmp_path: Path) -> None:
    tiny = [np.zeros((16, 16, 3), np.uint8)] * 3
    with pytest.raises(errors.FrameTooSmall, match="16x16"):
        probe(encode(tmp_path / "tiny.mp4", tiny))
    huge = [np.zeros((4320, 7680, 3), np.uint8)] * 2
    path = encode(tmp_path / "huge.mkv", huge, codec="mjpeg", pixel_format="yuvj420p")
    with pytest.raises(errors.FrameTooLarge, match="7680x4320"):
        probe(path)


def test_too_long_unless_trimmed(tmp_path: Path) -> None:
    frames = [np.zeros((64, 64, 3), np.uint8)] * 3600
    path = encode(tmp_path / "hour.mkv", frames, rate=1, codec="mpeg4")
    with pytest.raises(errors.VideoTooLong, match=r"lasts 3600\.0 s and at most 1800 s"):
        probe(path)
    assert probe(path, start_seconds=100, end_seconds=160).frame_count == 60
    assert probe(path, max_frames=30).frame_count == 30


def test_too_many_bytes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(10))
    with pytest.raises(errors.FileTooLarge):
        probe(path, VideoLimits(max_bytes=100))


@pytest.mark.parametrize(
    ("start", "end", "most"), [(-1, 0, 0), (2, 1, 0), (float("nan"), 0, 0), (0, 0, -3), (50, 0, 0)]
)
def test_trims_that_make_no_sense(tmp_path: Path, start: float, end: float, most: int) -> None:
    path = encode(tmp_path / "a.mp4", numbered(30))
    with pytest.raises(errors.InvalidOption):
        probe(path, start_seconds=start, end_seconds=end, max_frames=most)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
    ],
)
def test_playlists_open_nothing(tmp_path: Path, text: str) -> None:
    secret = encode(tmp_path / "secret.mp4", numbered(10))
    path = tmp_path / "list.mp4"
    path.write_text(text.format(secret=secret))
    with pytest.raises(errors.UnreadableVideo):
        probe(path)


def test_a_picture_with_long_pixels_is_made_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", numbered(5, 96, 80), options={"x264-params": "sar=4/3"})
    assert (probe(path).width, probe(path).height) == (128, 80)


def test_checks_are_asked(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(30))

    def stop() -> None:
        raise errors.Cancelled("enough")

    with pytest.raises(errors.Cancelled):
        probe(path, check=stop)
