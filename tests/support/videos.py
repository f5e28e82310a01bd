"""Small videos for tests, made on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Image = npt.NDArray[np.uint8]


def numbered(count: int, width: int = 96, height: int = 64) -> list[Image]:
    """Pictures that say which they are: a white bar whose length counts, on textured grey; see `number_of`."""
    rng = np.random.default_rng(7)
    ground = np.repeat(rng.integers(60, 110, (height // 8 + 1, width // 8 + 1, 1), np.uint8), 3, axis=2)
    ground = ground.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    frames = []
    for index in range(count):
        frame = ground.copy()
        for bit in range(8):
            x = 8 + bit * 10
            frame[8:-8, x : x + 8] = 235 if index >> bit & 1 else 20
        frames.append(frame)
    return frames


def number_of(frame: Image) -> int:
    """The number that a picture of `numbered` shows, after whatever coding."""
    middle = frame.shape[0] // 2
    return sum(
        int(frame[middle - 4 : middle + 4, 10 + bit * 10 : 14 + bit * 10].mean() > 128) << bit for bit in range(8)
    )


def encode(
    path: Path,
    frames: Iterable[Image],
    *,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    container: str | None = None,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    colour: dict[str, int] | None = None,
    sound: npt.NDArray[np.int16] | None = None,
    sound_rate: int = 44_100,
) -> Path:
    """Encodes RGB frames; `ticks` are timestamps in `time_base` for a variable rate; `sound` is (N,) mono."""
    with av.open(str(path), "w", format=container, container_options=container_options or {}) as output:
        stream = cast(VideoStream, output.add_stream(codec, rate=rate, options=options or {}))
        audio = (
            output.add_stream("aac" if sound is not None else "flac", rate=sound_rate) if sound is not None else None
        )
        context: Any = stream.codec_context
        if time_base:
            context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for name, value in (colour or {}).items():
            setattr(context, name, value)
        for index, image in enumerate(frames):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pixel_format
            frame = VideoFrame.from_ndarray(image, "rgb24")
            if not pixel_format.startswith(("rgb", "bgr", "gbr")):
                frame = frame.reformat(
                    format=pixel_format,
                    dst_colorspace=(colour or {}).get("colorspace"),
                    src_color_range=2,
                    dst_color_range=(colour or {}).get("color_range", 1),
                )
            frame.pts = ticks[index] if ticks else index
            frame.time_base = time_base or 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None and sound is not None:
            block = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", "mono")
            block.sample_rate, block.pts, block.time_base = sound_rate, 0, Fraction(1, sound_rate)
            for converted in av.AudioResampler("fltp", "stereo", sound_rate).resample(block):
                output.mux(cast(Any, audio).encode(converted))
            output.mux(cast(Any, audio).encode(None))
    return path


def sound_only(path: Path, seconds: float = 1.0) -> Path:
    """An MP4 with a tone and no picture."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("aac", rate=44_100)
        tone = (8000 * np.sin(np.arange(round(seconds * 44_100)) * 0.06)).astype(np.int16)
        block = av.AudioFrame.from_ndarray(tone.reshape(1, -1), "s16", "mono")
        block.sample_rate = 44_100
        for converted in av.AudioResampler("fltp", "stereo", 44_100).resample(block):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path
