"""A child process that turns one video file into frame shards in a folder.

Everything that touches the file's bytes happens here. Pictures are decoded in one thread and converted and compressed
in others; at most a few are in flight, so memory does not grow with length. Answers: `probed`, `frames` (progress),
`shard` (waits, so that at most one lies on disk unread), `done`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from services.common.errors import UnreadableVideo
from services.common.shards import FRAMES_PER_SHARD, frame_name, write_encoded
from services.common.video import (
    DecodedFrame,
    FrameStream,
    Geometry,
    RgbConverter,
    VideoFacts,
    VideoLimits,
    extract_audio,
    probe,
)
from services.downloader.child_side import say, serve
from services.downloader.jpeg import encode_frame, encode_thumbnail

_HEARTBEAT_SECONDS = 1.0


class _Heartbeat:
    """A `check` that tells the parent now and then that work goes on."""

    def __init__(self) -> None:
        self._next = 0.0
        self.frames = 0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _HEARTBEAT_SECONDS
            say({"frames": self.frames})


class _Compressor:
    """Frames to JPEG in several threads, results in order."""

    def __init__(self, geometry: Geometry) -> None:
        self._threads = max(1, min(4, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(self._threads)
        self._local = threading.local()
        self._geometry = geometry

    def compress(self, frames: Iterator[DecodedFrame]) -> Iterator[tuple[DecodedFrame, bytes]]:
        """(frame, JPEG bytes) for each frame; about two frames a thread are in flight."""
        waiting: deque[tuple[DecodedFrame, Future[bytes]]] = deque()
        for frame in frames:
            waiting.append((frame, self._pool.submit(self._one, frame)))
            if len(waiting) > 2 * self._threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()

    def _one(self, frame: DecodedFrame) -> bytes:
        if not hasattr(self._local, "convert"):
            self._local.convert = RgbConverter(self._geometry)
        return encode_frame(self._local.convert(frame.picture))


class _Decoding:
    """One run over the file: shards, thumbnail, times."""

    def __init__(self, path: Path, folder: Path, facts: VideoFacts, skip: set[int], heartbeat: _Heartbeat) -> None:
        self._folder, self._facts, self._skip, self._heartbeat = folder, facts, skip, heartbeat
        self.stream = FrameStream(path, facts, heartbeat)
        self.times: list[float] = []

    def run(self) -> None:
        """Writes and announces every shard that is not to be skipped."""
        current, members = -1, list[tuple[str, bytes]]()
        for frame, data in _Compressor(self._facts.geometry).compress(self._wanted()):
            number = frame.index // FRAMES_PER_SHARD
            if number != current and members:
                self._finish(current, members)
                members = []
            current = number
            members.append((frame_name(frame.index), data))
            self._heartbeat.frames = frame.index + 1
        if members:
            self._finish(current, members)

    def _wanted(self) -> Iterator[DecodedFrame]:
        thumbnail_at = self._facts.frame_count // 3
        last: DecodedFrame | None = None
        for frame in self.stream:
            self.times.append(frame.pts_seconds)
            if frame.index <= thumbnail_at:
                last = frame
            if frame.index == thumbnail_at:
                self._thumbnail(frame)
                last = None
            if frame.index // FRAMES_PER_SHARD not in self._skip:
                yield frame
        if last is not None:
            self._thumbnail(last)

    def _thumbnail(self, frame: DecodedFrame) -> None:
        image = RgbConverter(self._facts.geometry)(frame.picture)
        (self._folder / "thumbnail.jpg").write_bytes(encode_thumbnail(image))

    def _finish(self, number: int, members: list[tuple[str, bytes]]) -> None:
        path = self._folder / f"shard-{number}.tar"
        write_encoded(path, iter(members))
        say({"shard": {"number": number, "path": str(path), "frame_count": len(members)}, "wait": True})


def decode(request: dict[str, Any]) -> None:
    """Probes and decodes `path` into `folder`. Raises the errors of `probe`."""
    path, folder = Path(request["path"]), Path(request["folder"])
    limits = VideoLimits(**request["limits"])
    heartbeat = _Heartbeat()
    try:
        facts = probe(path, limits, **request["trims"], check=heartbeat)
        say({"probed": {"frame_count": facts.frame_count}})
        decoding = _Decoding(path, folder, facts, set(request["skip_shards"]), heartbeat)
        decoding.run()
        limits.check_frame_count(len(decoding.times))
        np.asarray(decoding.times, np.float64).tofile(folder / "times.f64")
        has_audio = extract_audio(path, facts, folder / "audio.mka", heartbeat)
    except MemoryError as error:
        raise UnreadableVideo(
            f"decoding needs more than {int(request['memory_bytes']) / 2**20:.0f} MiB of memory; "
            "scale the video down first",
            limit_bytes=request["memory_bytes"],
        ) from error
    say({"done": _result(facts, decoding, has_audio=has_audio)})


def _result(facts: VideoFacts, decoding: _Decoding, *, has_audio: bool) -> dict[str, Any]:
    """The part of the Clip message that the file decides."""
    stream, count = decoding.stream, len(decoding.times)
    warnings = list(facts.warnings)
    # Places that no picture fell on: a variable rate leaves them on purpose, damage does not.
    lost = stream.repeated_frames if not facts.timing.variable else 0
    skipped = max(lost, stream.damaged_frames) + max(0, facts.frame_count - count)
    if skipped:
        warnings.append(f"{skipped} of {facts.frame_count} frames could not be decoded; the one before stands in")
    if facts.timing.variable and facts.timing.timed:
        warnings.append(f"{stream.repeated_frames} frames were repeated and {stream.merged_frames} left out for it")
    if count < facts.frame_count:
        warnings.append(f"the video ends early: {count} of {facts.frame_count} frames")
    if facts.geometry.crop:
        width, height = facts.geometry.upright_size
        warnings.append(f"black bars were cropped: {width}x{height} became {facts.width}x{facts.height}")
    if facts.has_audio and not has_audio:
        warnings.append("the sound could not be decoded and is left out")
    crop = facts.geometry.crop
    return {
        "width": facts.width,
        "height": facts.height,
        "frame_count": count,
        "frame_rate": {"numerator": facts.frame_rate.numerator, "denominator": facts.frame_rate.denominator},
        "duration_seconds": float(count / facts.frame_rate),
        "has_audio": has_audio,
        **({"crop": vars(crop)} if crop else {}),
        "rotation_degrees": facts.geometry.orientation.rotation_degrees,
        "container": facts.container,
        "codec": facts.codec,
        "skipped_frames": skipped,
        "warnings": warnings,
    }


if __name__ == "__main__":
    serve(decode)
