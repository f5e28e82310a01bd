"""Files that are no usable video, each in its own way."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from tests.support.videos import Image, encode, numbered, sound_only


def noise(count: int, width: int, height: int) -> list[Image]:
    """Pictures of a bare, faintly grained wall: nobody is there."""
    wall = np.random.default_rng(0).integers(90, 110, (height, width, 3), dtype=np.uint8)
    return [wall] * count


def text(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("this is no video, whatever its name says\n" * 200)
    return path


def truncated(folder: Path) -> Path:
    """An MP4 whose index would have come at its end."""
    whole = encode(folder / "whole.mp4", numbered(60, 320, 240)).read_bytes()
    path = folder / "cut.mp4"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    return path


def audio_only(folder: Path) -> Path:
    return sound_only(folder / "song.mp4", 2.0)


def one_frame(folder: Path) -> Path:
    return encode(folder / "photo.mp4", numbered(1, 320, 240))


def nobody(folder: Path) -> Path:
    return encode(folder / "empty-room.mp4", noise(30, 320, 240))


def tiny(folder: Path) -> Path:
    return encode(folder / "icon.mp4", noise(20, 16, 16))


def huge(folder: Path) -> Path:
    """8K."""
    frame = np.full((4320, 7680, 3), 90, np.uint8)
    return encode(folder / "8k.mkv", [frame], codec="mjpeg", pixel_format="yuvj420p")


def hour(folder: Path) -> Path:
    """An hour and two minutes, a picture a second."""
    return encode(folder / "hour.mp4", noise(3720, 64, 64), rate=1, codec="mpeg4")


def empty(folder: Path) -> Path:
    path = folder / "nothing.mp4"
    path.touch()
    return path


def cut_at_its_end(video: Path, folder: Path) -> Path:
    """A good MP4 with its index in front, of which the last part is missing."""
    whole, path = folder / "front.mp4", folder / "cut-at-its-end.mp4"
    with av.open(str(video)) as given, av.open(str(whole), "w", options={"movflags": "faststart"}) as output:
        stream = given.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    data = whole.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    path.write_bytes(data[: len(data) * 6 // 10])
    return path
