"""Decoding: every frame that can be had, at a constant rate, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from services.common.video.colour import RGB, RgbConverter
from services.common.video.container import open_video, video_stream
from services.common.video.facts import Timing, VideoFacts


def unbothered() -> None:
    """A `check` that never stops anything."""


@dataclass(frozen=True)
class DecodedFrame:
    """One frame of the clip, still as the decoder left it."""

    index: int
    """Number within the chosen part, from 0."""
    pts_seconds: float
    """Time of the picture in the file, seconds after the chosen part's start. Jitters around index / rate."""
    picture: VideoFrame
    repeated: bool
    """The picture is the previous frame's, because the file has none for this time."""


class FrameStream:
    """Iterates over the decoded frames of the chosen part; what went wrong is counted.

    Damaged pictures are left out and the grid's places for them are filled with the picture before, so that frame
    numbers keep their times. Iterating again decodes again.
    """

    def __init__(self, path: Path, facts: VideoFacts, check: Callable[[], None] = unbothered) -> None:
        self._path = path
        self._facts = facts
        self._check = check
        self.decoded_frames = 0
        """Different pictures delivered."""
        self.repeated_frames = 0
        """Places filled with the picture before."""
        self.merged_frames = 0
        """Pictures left out because their place was taken (variable rate)."""
        self.damaged_frames = 0
        """Pictures that the decoder refused or marked as broken."""
        self.delivered_frames = 0
        """Frames yielded, repeated ones included."""

    def __iter__(self) -> Iterator[DecodedFrame]:
        self.decoded_frames = self.repeated_frames = self.merged_frames = 0
        self.damaged_frames = self.delivered_frames = 0
        container = open_video(self._path)
        try:
            yield from self._on_grid(container, video_stream(container))
        finally:
            container.close()

    def _on_grid(self, container: InputContainer, stream: VideoStream) -> Iterator[DecodedFrame]:
        timing, first, count = self._facts.timing, self._facts.first_slot, self._facts.frame_count
        held: tuple[float, VideoFrame] | None = None
        wanted = 0
        for slot, seconds, picture in self._pictures(container, stream):
            index = slot - first
            if index < 0:
                held = (seconds, picture)
                continue
            # Places before this picture that no picture of its own was found for.
            while wanted < min(index, count):
                filler = held or (seconds, picture)
                yield self._frame(wanted, filler, repeated=True)
                wanted += 1
            if wanted >= count:
                return
            if index < wanted and held is not None and timing.timed:
                self.merged_frames += 1
                continue
            held = (seconds, picture)
            yield self._frame(wanted, held, repeated=False)
            wanted += 1

    def _frame(self, index: int, held: tuple[float, VideoFrame], *, repeated: bool) -> DecodedFrame:
        self.delivered_frames += 1
        if repeated:
            self.repeated_frames += 1
        else:
            self.decoded_frames += 1
        return DecodedFrame(index, held[0] - self._facts.start_seconds, held[1], repeated)

    def _pictures(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, float, VideoFrame]]:
        """(place in the whole video, seconds after its first frame, picture), in order of time."""
        timing = self._facts.timing
        for counted, picture in enumerate(self._decode(container, stream)):
            ticks = picture.pts if picture.pts is not None else picture.dts
            if timing.timed and ticks is not None:
                seconds = float((ticks - timing.first_ticks) * timing.time_base)
                yield timing.slot(ticks), seconds, picture
            else:
                yield counted, float(counted / timing.rate), picture

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        stream.thread_type = "AUTO"
        _seek(container, stream, self._facts.timing, self._facts.first_slot)
        packets = container.demux(stream)
        while True:
            self._check()
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):
                # The file ends in the middle of a packet: what has been decoded so far is kept, the rest flushed.
                packet = None
            try:
                pictures = stream.decode(packet)
            except av.FFmpegError:
                self.damaged_frames += 1
                pictures = []
            for picture in pictures:
                if picture.is_corrupt:
                    self.damaged_frames += 1
                else:
                    yield picture
            if packet is None or packet.size == 0:
                return


def _seek(container: InputContainer, stream: VideoStream, timing: Timing, first_slot: int) -> None:
    """Goes to the key frame before the chosen part. Untimed and short ways are decoded through instead."""
    seconds = first_slot / timing.rate
    if not timing.timed or seconds < 5:
        return
    ticks = timing.first_ticks + int(seconds / timing.time_base)
    try:
        container.seek(ticks, stream=stream, backward=True)
    except (av.FFmpegError, OSError):
        container.seek(timing.first_ticks, stream=stream, backward=True)


def read_frames(path: Path, facts: VideoFacts, check: Callable[[], None] = unbothered) -> Iterator[tuple[float, RGB]]:
    """(seconds after the chosen part's start, RGB uint8 (H, W, 3)) of each frame that `probe` chose, in order."""
    convert = RgbConverter(facts.geometry)
    for frame in FrameStream(path, facts, check):
        yield frame.pts_seconds, convert(frame.picture)
