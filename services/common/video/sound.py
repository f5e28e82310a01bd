"""Sound: kept exactly as long as the clip, so that it can be laid under the result without another thought."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from services.common.video.container import open_video
from services.common.video.decode import unbothered
from services.common.video.facts import VideoFacts

Samples = npt.NDArray[np.int16]
"""(N, channels) signed 16-bit."""

_GAP_SECONDS = 0.1
"""Timestamps may disagree with the sample count by this before silence is put in or sound is left out."""
_MIN_RATE, _MAX_RATE = 8_000, 48_000


def extract_audio(path: Path, facts: VideoFacts, destination: Path, check: Callable[[], None] = unbothered) -> bool:
    """Writes the sound of the chosen part as FLAC in Matroska; its first sample belongs to the clip's first frame.

    Sound that begins late is preceded by silence. Returns False, and leaves no file, when there is no sound.
    """
    if not facts.has_audio:
        return False
    timing = facts.timing
    start = float(timing.first_ticks * timing.time_base) if timing.timed else 0.0
    start += facts.start_seconds
    container = open_video(path)
    try:
        stream = next(s for s in container.streams.audio if s.codec_context is not None)
        rate = min(max(stream.rate or _MAX_RATE, _MIN_RATE), _MAX_RATE)
        channels = 1 if stream.channels == 1 else 2
        if facts.start_seconds > 5:
            # Sound packets are short and all key: a second before the start is early enough.
            container.seek(int((start - 1.0) * av.time_base), backward=True)
        blocks = _on_time(_decoded(container, stream, rate, channels, check), rate, channels, start)
        return write_flac(blocks, destination, rate, channels, round(facts.duration_seconds * rate))
    finally:
        container.close()


def read_samples(path: Path, rate: int, channels: int) -> Iterator[Samples]:
    """Blocks of (N, channels) int16 at `rate` samples a second from the start of a sound file."""
    container = open_video(path)
    try:
        stream = container.streams.audio[0]
        for _, block in _decoded(container, stream, rate, channels, unbothered):
            yield block
    finally:
        container.close()


def _decoded(
    container: InputContainer, stream: AudioStream, rate: int, channels: int, check: Callable[[], None]
) -> Iterator[tuple[float | None, Samples]]:
    """(time of the block's first sample in the file's time, samples). Damaged packets leave a gap."""
    resampler = AudioResampler(format="s16", layout="mono" if channels == 1 else "stereo", rate=rate)
    packets = container.demux(stream)
    while True:
        check()
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            frames = []
        for frame in frames:
            for block in resampler.resample(frame):
                yield block.time, _to_samples(block, channels)
        if packet is None or packet.size == 0:
            break
    for block in resampler.resample(None):
        yield block.time, _to_samples(block, channels)


def _to_samples(block: AudioFrame, channels: int) -> Samples:
    samples: Samples = block.to_ndarray().reshape(-1, channels).astype(np.int16, copy=False)
    return samples


def _on_time(
    blocks: Iterator[tuple[float | None, Samples]], rate: int, channels: int, start_seconds: float
) -> Iterator[Samples]:
    """The blocks from `start_seconds` on without a gap: silence where the file has none, sound from before cut off."""
    position: int | None = None
    for time, block in blocks:
        told = position if time is None else round((time - start_seconds) * rate)
        if position is None or (told is not None and abs(told - position) > _GAP_SECONDS * rate):
            told = told or 0
            if told > max(0, position or 0):
                yield np.zeros((told - max(0, position or 0), channels), np.int16)
            if position is not None and told < position:
                # The file goes back in time: what was heard already is not repeated.
                block = block[position - told :]
                told = position
            position = told
        if position < 0:
            skipped = min(-position, len(block))
            block, position = block[skipped:], position + skipped
        if len(block):
            yield block
            position += len(block)


def write_flac(blocks: Iterator[Samples], destination: Path, rate: int, channels: int, length: int) -> bool:
    """Writes at most `length` samples as FLAC in Matroska; no file and False when there are none."""
    written = 0
    with av.open(str(destination), "w", format="matroska", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        stream.format = "s16"
        encoder = SoundEncoder(container, stream, channels)
        for block in blocks:
            block = block[: length - written]
            encoder.add(block)
            written += len(block)
            if written >= length:
                break
        encoder.close()
    if written == 0:
        destination.unlink()
    return written > 0


class SoundEncoder:
    """Feeds one audio stream of an open container with samples, in the encoder's own block size."""

    def __init__(self, container: OutputContainer, stream: AudioStream, channels: int) -> None:
        self._container, self._stream = container, stream
        self._layout = "mono" if channels == 1 else "stereo"
        self._fifo = av.AudioFifo()
        self._resampler = AudioResampler(format=stream.format, layout=self._layout, rate=stream.rate)
        self._position = 0
        stream.codec_context.open(strict=False)
        self._block = stream.codec_context.frame_size or 1024

    def add(self, samples: Samples) -> None:
        """(N, channels) int16, at the stream's rate."""
        if not len(samples):
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "s16", self._layout)
        frame.sample_rate = self._stream.rate
        frame.pts, frame.time_base = self._position, Fraction(1, self._stream.rate)
        self._position += len(samples)
        for converted in self._resampler.resample(frame):
            self._fifo.write(converted)
        self._drain(partial=False)

    def close(self) -> None:
        """Encodes what is left."""
        self._drain(partial=True)
        self._container.mux(self._stream.encode(None))

    def _drain(self, *, partial: bool) -> None:
        while (frame := self._fifo.read(self._block, partial)) is not None:
            self._container.mux(self._stream.encode(frame))
