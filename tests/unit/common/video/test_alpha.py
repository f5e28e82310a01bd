"""Alpha in WebM and in PNGs: what is written is read again, by decoders that know it."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import InvalidInput
from services.common.video.write import write_video

RATE = Fraction(24000, 1001)
SAYS = "This is synthetic."


def disc(index: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A red disc with a soft edge that wanders over nothing; RGBA, red everywhere."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - 24 - 4 * index, y - 32)
    frame = np.zeros((height, width, 4), np.uint8)
    frame[..., 0] = 220
    frame[..., 3] = np.clip((20 - distance) * 64, 0, 255)
    return frame


def alphas_of(path: Path) -> list[NDArray[np.uint8]]:
    """Read by libvpx: FFmpeg's own VP9 decoder leaves alpha out."""
    decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.metadata["ALPHA_MODE"] == "1"
        pictures = [picture for packet in container.demux(stream) if packet.size for picture in decoder.decode(packet)]
        pictures += decoder.decode(None)
    return [picture.to_ndarray(format="rgba") for picture in pictures]


def test_webm_keeps_colour_and_alpha(tmp_path: Path) -> None:
    path = tmp_path / "alpha.webm"
    truth = [disc(index) for index in range(10)]
    written = write_video(truth, path, RATE, video_format="webm", synthetic=SAYS)
    assert (written.frame_count, written.width, written.height) == (10, 96, 64)
    found = alphas_of(path)
    assert len(found) == 10
    for got, true in zip(found, truth, strict=True):
        assert np.abs(got[..., 3].astype(int) - true[..., 3]).mean() < 3
        assert (got[true[..., 3] == 0, 3] < 40).all()
        assert np.abs(got[..., :3].astype(int) - true[..., :3])[true[..., 3] > 0].mean() < 8
    again = tmp_path / "again.webm"
    write_video(truth, again, RATE, video_format="webm", synthetic=SAYS)
    assert again.read_bytes() == path.read_bytes()


def test_pictures_keep_every_bit_and_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "frames.zip"
    truth = [disc(index, 95, 63) for index in range(3)]
    written = write_video(truth, path, RATE, video_format="png", synthetic=SAYS)
    assert (written.frame_count, written.width, written.height, written.has_audio) == (3, 95, 63, False)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["000000.png", "000001.png", "000002.png", "about.json"]
        about = json.loads(archive.read("about.json"))
        assert (about["frame_rate"], about["frame_count"], about["comment"]) == ("24000/1001", 3, SAYS)
        for index, true in enumerate(truth):
            data = archive.read(f"{index:06d}.png")
            assert SAYS.encode() in data
            found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(cv2.cvtColor(found, cv2.COLOR_BGRA2RGBA), true)
    again = tmp_path / "again.zip"
    write_video(truth, again, RATE, video_format="png", synthetic=SAYS)
    assert again.read_bytes() == path.read_bytes()


def test_png_takes_frames_without_alpha(tmp_path: Path) -> None:
    write_video([disc(0)[..., :3]], tmp_path / "a.zip", RATE, video_format="png")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        found: Any = cv2.imdecode(np.frombuffer(archive.read("000000.png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found.shape == (64, 96, 3)


@pytest.mark.parametrize("video_format", ["mp4", "gif"])
def test_formats_without_alpha_refuse_it(tmp_path: Path, video_format: Any) -> None:
    with pytest.raises(InvalidInput, match=r"\(64, 96, 4\)"):
        write_video([disc(0)], tmp_path / f"a.{video_format}", RATE, video_format=video_format)
