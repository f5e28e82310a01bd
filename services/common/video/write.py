"""Writing videos: H.264 in MP4, VP9 in WebM, GIF, PNGs in a zip. The same frames always give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from services.common.errors import InvalidInput, InvalidOption
from services.common.video.colour import EXACT, RGB
from services.common.video.gif import write_gif
from services.common.video.marking import DIGITAL_SOURCE_TYPE, mark_file
from services.common.video.pictures import write_pictures
from services.common.video.sound import Samples, SoundEncoder, read_samples

VideoFormat = Literal["mp4", "webm", "gif", "png"]
ALPHA_FORMATS = ("webm", "png")
"""Formats that keep a fourth channel."""

_ENCODER_THREADS = 4
"""Fixed: x264's choices depend on the number of threads, and the same frames must give the same bytes anywhere."""
_X264 = {"preset": "veryfast", "crf": "18", "profile": "high", "x264-params": "open-gop=0"}
_VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1", "tile-columns": "2",
        "auto-alt-ref": "1", "lag-in-frames": "16"}  # fmt: skip
_VP9_ALPHA = {"auto-alt-ref": "0", "lag-in-frames": "0"}
"""Alpha is a second stream that must stay in step with the first: no frames that are not shown."""
_SOUND_RATE = 48_000
_SOUND_LEAD_SECONDS = 0.5
"""Sound is encoded this far ahead of the picture, so that players find both close together."""


@dataclass(frozen=True)
class WrittenVideo:
    """What `write_video` wrote."""

    width: int
    height: int
    frame_count: int
    has_audio: bool
    size_bytes: int


def write_video(
    frames: Iterable[RGB],
    path: Path,
    rate: Fraction,
    *,
    audio_path: Path | None = None,
    audio_start_seconds: float = 0.0,
    video_format: VideoFormat = "mp4",
    title: str = "",
    synthetic: str = "",
) -> WrittenVideo:
    """Encodes RGB uint8 frames (H, W, 3), all of one size, at an exact rate; WebM and PNG also RGBA (H, W, 4).

    PNG is a zip of numbered pictures. RGBA is colour that is not multiplied by alpha.

    `audio_path` is a sound file whose sample at `audio_start_seconds` belongs to the first frame; it is cut at the last
    frame's end, and GIF leaves it out. Odd sizes are padded to even ones by repeating the last row or column. When
    `synthetic` is a sentence, the file says it in its metadata, as a comment and as IPTC's digital source type.
    Raises InvalidOption (unknown format), InvalidInput (no frames, frames of several sizes).
    """
    if video_format not in get_args(VideoFormat):
        raise InvalidOption(f'there is no format "{video_format}"; choose mp4, webm, gif or png', format=video_format)
    checked = _Checked(frames, (3, 4) if video_format in ALPHA_FORMATS else (3,))
    if video_format in {"gif", "png"}:
        write = write_gif if video_format == "gif" else partial(write_pictures, synthetic=synthetic)
        width, height = write(checked, path, rate)
        has_audio = False
    else:
        width, height = _write_stream(
            checked, path, rate, audio_path, audio_start_seconds, video_format, title, synthetic
        )
        has_audio = audio_path is not None
    if synthetic:
        mark_file(path, video_format, synthetic)
    return WrittenVideo(width, height, checked.count, has_audio, path.stat().st_size)


class _Checked:
    """Counts frames and holds them to the first one's size; nothing is an error too."""

    def __init__(self, frames: Iterable[RGB], channels: tuple[int, ...]) -> None:
        self._frames, self._channels = frames, channels
        self.count = 0

    def __iter__(self) -> Iterator[RGB]:
        shape: tuple[int, ...] | None = None
        for frame in self._frames:
            fits = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] in self._channels
            if not fits or shape not in (None, frame.shape):
                wanted = shape or f"(H, W, {' or '.join(map(str, self._channels))})"
                raise InvalidInput(f"frame {self.count} is {frame.dtype} {frame.shape}; all must be uint8 {wanted}")
            shape = frame.shape
            self.count += 1
            yield frame
        if not self.count:
            raise InvalidInput("there are no frames to write")


def _write_stream(
    frames: Iterable[RGB],
    path: Path,
    rate: Fraction,
    audio_path: Path | None,
    audio_start_seconds: float,
    video_format: VideoFormat,
    title: str,
    synthetic: str,
) -> tuple[int, int]:
    source = iter(frames)
    first = next(source)
    height, width = (side + side % 2 for side in first.shape[:2])
    options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if video_format == "mp4" else {})
    with av.open(str(path), "w", format=video_format, container_options=options) as container:
        if title:
            container.metadata["title"] = title
        if synthetic:
            container.metadata["comment"] = synthetic
            if video_format == "webm":
                container.metadata["DIGITAL_SOURCE_TYPE"] = DIGITAL_SOURCE_TYPE
        stream = _video_stream(container, video_format, rate, width, height, alpha=first.shape[2] == 4)
        sound = _Sound(container, video_format, audio_path, audio_start_seconds) if audio_path else None
        container.start_encoding()
        convert = _YuvConverter(width, height, rate, alpha=first.shape[2] == 4)
        index = 0
        for index, frame in enumerate(_chain(first, source), start=1):
            container.mux(stream.encode(convert(frame, index - 1)))
            if sound:
                sound.write_until(float(index / rate) + _SOUND_LEAD_SECONDS)
        container.mux(stream.encode(None))
        if sound:
            sound.finish(float(index / rate))
    return width, height


def _chain(first: RGB, rest: Iterator[RGB]) -> Iterator[RGB]:
    yield first
    yield from rest


def _video_stream(
    container: OutputContainer, video_format: VideoFormat, rate: Fraction, width: int, height: int, *, alpha: bool
) -> VideoStream:
    codec, options = ("libx264", _X264) if video_format == "mp4" else ("libvpx-vp9", _VP9)
    if alpha:
        options = options | _VP9_ALPHA
    stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=dict(options)))
    stream.width, stream.height, stream.pix_fmt = width, height, _pixel_format(alpha=alpha)
    if alpha:
        stream.metadata["alpha_mode"] = "1"
    context = stream.codec_context
    context.thread_count = _ENCODER_THREADS
    context.gop_size = max(1, round(2 * rate))
    context.flags |= Flags.bitexact
    context.colorspace = int(Colorspace.ITU709)
    context.color_range = int(ColorRange.MPEG)
    context.color_primaries = int(ColorPrimaries.BT709)
    context.color_trc = int(ColorTrc.BT709)
    return stream


def _pixel_format(*, alpha: bool) -> str:
    return "yuva420p" if alpha else "yuv420p"


class _YuvConverter:
    """RGB (H, W, 3) or RGBA (H, W, 4) to BT.709 limited-range 4:2:0, padded to the even size."""

    def __init__(self, width: int, height: int, rate: Fraction, *, alpha: bool) -> None:
        self._packed, self._planar = "rgba" if alpha else "rgb24", _pixel_format(alpha=alpha)
        self._width, self._height, self._time_base = width, height, 1 / rate
        self._reformatter = VideoReformatter()

    def __call__(self, image: RGB, index: int) -> VideoFrame:
        height, width = image.shape[:2]
        if (width, height) != (self._width, self._height):
            bottom, right = self._height - height, self._width - width
            padded: Any = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
            image = padded
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), self._packed),
            format=self._planar,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_color_trc=ColorTrc.BT709,
            dst_color_primaries=ColorPrimaries.BT709,
            interpolation=EXACT,
            threads=1,
        )
        frame.pts, frame.time_base = index, self._time_base
        return frame


class _Sound:
    """Keeps the sound a little ahead of the picture while both are written."""

    def __init__(
        self, container: OutputContainer, video_format: VideoFormat, audio_path: Path, start_seconds: float
    ) -> None:
        stream = container.add_stream("aac" if video_format == "mp4" else "libopus", rate=_SOUND_RATE)
        stream.layout, stream.format = "stereo", "fltp" if video_format == "mp4" else "flt"
        stream.bit_rate = 160_000
        stream.codec_context.flags |= Flags.bitexact
        self._encoder = SoundEncoder(container, stream, channels=2)
        self._blocks = read_samples(audio_path, _SOUND_RATE, 2)
        self._rest: Samples | None = None
        self._written = 0
        self._skip(round(start_seconds * _SOUND_RATE))

    def _skip(self, samples: int) -> None:
        while samples > 0 and (block := next(self._blocks, None)) is not None:
            self._rest = block[samples:] if len(block) > samples else None
            samples -= len(block)

    def write_until(self, seconds: float) -> None:
        """Encodes sound up to `seconds` after the start, as far as there is any."""
        wanted = round(seconds * _SOUND_RATE)
        while self._written < wanted:
            block = self._rest if self._rest is not None else next(self._blocks, None)
            if block is None:
                return
            part, rest = block[: wanted - self._written], block[wanted - self._written :]
            self._rest = rest if len(rest) else None
            self._encoder.add(part)
            self._written += len(part)

    def finish(self, seconds: float) -> None:
        """Encodes the rest up to `seconds` and closes."""
        self.write_until(seconds)
        self._encoder.close()
