"""Looking at a video before it is used: timestamps of all packets, pictures of a few."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from services.common.errors import InvalidOption, UnreadableVideo
from services.common.video.colour import RGB, RgbConverter, orientation_of, square_size
from services.common.video.container import open_video, video_stream
from services.common.video.decode import FrameStream, unbothered
from services.common.video.facts import Geometry, Timing, VideoFacts
from services.common.video.letterbox import find_crop
from services.common.video.limits import VideoLimits
from services.common.video.timing import choose_timing, scan_ticks

_BAR_SAMPLES = 24
_BAR_FRAMES = 240
"""Bars are looked for in 24 frames of the first 240 of the chosen part, fewer when ruled out earlier."""


def probe(
    path: Path,
    limits: VideoLimits | None = None,
    *,
    start_seconds: float = 0.0,
    end_seconds: float = 0.0,
    max_frames: int = 0,
    crop_bars: bool = True,
    check: Callable[[], None] = unbothered,
) -> VideoFacts:
    """Finds out what a video really holds.

    `start_seconds` and `end_seconds` count from the first frame; an end of 0 is the end of the video; `max_frames` of
    0 is all. `check` is called often and may raise to stop. Raises UnreadableVideo, NoVideoStream, VideoTooShort,
    VideoTooLong, FrameTooLarge, FrameTooSmall, FileTooLarge, InvalidOption.
    """
    limits = limits or VideoLimits()
    _check_trims(start_seconds, end_seconds, max_frames)
    container = open_video(path)
    try:
        limits.check_bytes(path.stat().st_size)
        stream = video_stream(container)
        # Refused before a single picture is decoded; the decoded size is checked again below.
        if stream.width and stream.height:
            limits.check_frame_size(stream.width, stream.height)
        hints = [Fraction(rate) for rate in (stream.guessed_rate, stream.average_rate) if rate]
        ticks, untimed, hidden = scan_ticks(container, stream, limits, check)
        if len(ticks) + untimed == 0:
            raise UnreadableVideo("the file names a video track and holds no frame of it; get the file again")
        timing = choose_timing(ticks, untimed, stream.time_base or Fraction(1, 90_000), hints)
        facts = _facts(container, stream, timing, hidden)
    finally:
        container.close()
    facts = _trimmed(facts, limits, start_seconds, end_seconds, max_frames)
    facts = _with_geometry(path, facts, limits, check)
    if crop_bars and (crop := find_crop(_samples(path, facts, check))):
        facts = replace(facts, geometry=replace(facts.geometry, crop=crop))
        limits.check_frame_size(crop.width, crop.height)
    return facts


def _check_trims(start_seconds: float, end_seconds: float, max_frames: int) -> None:
    if not (math.isfinite(start_seconds) and math.isfinite(end_seconds)) or min(start_seconds, end_seconds) < 0:
        raise InvalidOption(f"start ({start_seconds}) and end ({end_seconds}) must be seconds, 0 or more")
    if end_seconds and end_seconds <= start_seconds:
        raise InvalidOption(f"the end ({end_seconds} s) must lie after the start ({start_seconds} s)")
    if max_frames < 0:
        raise InvalidOption(f"the most number of frames ({max_frames}) must be 0 (all) or more")


def _facts(container: InputContainer, stream: VideoStream, timing: Timing, hidden: int) -> VideoFacts:
    warnings: list[str] = []
    if not timing.timed:
        warnings.append(f"the file has no usable timestamps; frames are taken to be {float(timing.rate):g} a second")
    elif timing.variable:
        warnings.append(f"the frame rate varies; made constant at {float(timing.rate):.3f} frames a second")
    found = timing.packet_count + hidden
    # An edit list may also keep packets out of sight altogether; only a file that names no such list says it plainly.
    if not hidden and stream.frames > found + 1 and stream.frames > 1.02 * found:
        warnings.append(f"the file is cut short: {found} of its {stream.frames} frames are there")
    codec = stream.codec_context
    return VideoFacts(
        geometry=Geometry(stream.width, stream.height),
        timing=timing,
        first_slot=0,
        frame_count=timing.slot_count,
        has_audio=any(sound.codec_context is not None for sound in container.streams.audio),
        container=container.format.name,
        codec=codec.name,
        pixel_format=codec.pix_fmt or "",
        warnings=tuple(warnings),
    )


def _trimmed(facts: VideoFacts, limits: VideoLimits, start: float, end: float, max_frames: int) -> VideoFacts:
    total, rate = facts.timing.slot_count, facts.frame_rate
    # A frame belongs to the part when it begins inside it; the small term keeps 1.0 s at 30/s from becoming frame 31.
    first = math.ceil(start * float(rate) - 1e-6)
    last = min(total, math.ceil(end * float(rate) - 1e-6)) if end else total
    if first >= total:
        raise InvalidOption(
            f"the start ({start:g} s) lies after the end of the video ({float(total / rate):.2f} s)",
            start_seconds=start,
            duration_seconds=float(total / rate),
        )
    count = min(last - first, max_frames) if max_frames else last - first
    limits.check_frame_count(count)
    limits.check_duration(float(count / rate))
    return replace(facts, first_slot=first, frame_count=count)


def _with_geometry(path: Path, facts: VideoFacts, limits: VideoLimits, check: Callable[[], None]) -> VideoFacts:
    """Size, turn and pixel shape of the first picture that decodes."""
    first = next(iter(FrameStream(path, facts, check)), None)
    if first is None:
        raise UnreadableVideo(
            f"none of the {facts.frame_count} frames of the video ({facts.codec}) can be decoded; get the file again",
            frame_count=facts.frame_count,
        )
    picture: VideoFrame = first.picture
    aspect = _sample_aspect(path)
    width, height = square_size(picture, aspect)
    geometry = Geometry(width, height, orientation_of(picture))
    limits.check_frame_size(*geometry.size)
    return replace(facts, geometry=geometry, pixel_format=picture.format.name)


def _sample_aspect(path: Path) -> Fraction | None:
    container = open_video(path)
    try:
        return video_stream(container).sample_aspect_ratio
    except av.FFmpegError:
        return None
    finally:
        container.close()


def _samples(path: Path, facts: VideoFacts, check: Callable[[], None]) -> Iterator[RGB]:
    convert = RgbConverter(facts.geometry)
    step = max(1, min(_BAR_FRAMES, facts.frame_count) // _BAR_SAMPLES)
    for frame in FrameStream(path, facts, check):
        if frame.index >= _BAR_FRAMES:
            return
        if frame.index % step == 0:
            yield convert(frame.picture)
