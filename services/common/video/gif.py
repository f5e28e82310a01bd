"""GIF: small, 15 pictures a second at most, one palette for the whole clip.

The palette needs all frames before the first can be written, so the reduced frames are kept in a lossless temporary
file between the two passes; memory stays flat.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from services.common.video.colour import RGB

_MAX_SIDE_PX = 480
_MAX_RATE = Fraction(15)
_TICK = Fraction(1, 100)
"""GIF's own unit of time."""


def write_gif(frames: Iterable[RGB], path: Path, rate: Fraction) -> tuple[int, int]:
    """Writes RGB uint8 frames (H, W, 3), reduced to 480 px and 15 a second. Returns width and height, px."""
    with tempfile.TemporaryDirectory(prefix="understudy-gif-") as folder:
        spool = Path(folder) / "frames.mkv"
        palette, size = _first_pass(frames, spool, rate)
        _second_pass(spool, path, palette, size)
    return size


def _reduced(frames: Iterable[RGB], rate: Fraction) -> Iterator[tuple[int, RGB]]:
    """(time in GIF ticks, reduced frame), with frames left out to stay below the highest rate."""
    step = max(Fraction(1), rate / _MAX_RATE)
    due = Fraction(0)
    for index, frame in enumerate(frames):
        if index < due:
            continue
        due += step
        height, width = frame.shape[:2]
        scale = min(1.0, _MAX_SIDE_PX / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small: Any = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        yield round(index / rate / _TICK), small


def _first_pass(frames: Iterable[RGB], spool: Path, rate: Fraction) -> tuple[VideoFrame, tuple[int, int]]:
    graph: Graph | None = None
    size = (0, 0)
    with av.open(str(spool), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=100)
        stream.pix_fmt = "bgr0"
        for ticks, image in _reduced(frames, rate):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = ticks, _TICK
            if graph is None:
                size = (image.shape[1], image.shape[0])
                stream.width, stream.height = size
                graph = _graph(size, ("palettegen", "stats_mode=diff"))
            graph.vpush(frame.reformat(format="rgb32"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert graph is not None  # the caller's iterator raises when there are no frames
    graph.vpush(None)
    return graph.vpull(), size


def _second_pass(spool: Path, path: Path, palette: VideoFrame, size: tuple[int, int]) -> None:
    graph = Graph()
    pictures = _buffer(graph, size, "bgr0")
    colours = _buffer(graph, (16, 16), "rgb32")
    mapper = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle")
    sink = graph.add("buffersink")
    pictures.link_to(mapper, 0, 0)
    colours.link_to(mapper, 0, 1)
    mapper.link_to(sink)
    graph.configure()
    with av.open(str(path), "w", format="gif", container_options={"loop": "0", "fflags": "+bitexact"}) as container:
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = *size, "pal8"
        palette.pts, palette.time_base = 0, _TICK
        colours.push(palette)
        colours.push(None)
        with av.open(str(spool)) as source:
            for frame in source.decode(video=0):
                frame.pts, frame.time_base = round(frame.time / _TICK), _TICK
                pictures.push(frame)
                _drain(sink, container, stream)
        pictures.push(None)
        _drain(sink, container, stream)
        container.mux(stream.encode(None))


def _drain(sink: FilterContext, container: av.container.OutputContainer, stream: av.VideoStream) -> None:
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        container.mux(stream.encode(cast(VideoFrame, frame)))


def _buffer(graph: Graph, size: tuple[int, int], pixel_format: str) -> FilterContext:
    return graph.add_buffer(width=size[0], height=size[1], format=VideoFormat(pixel_format, *size), time_base=_TICK)


def _graph(size: tuple[int, int], step: tuple[str, str]) -> Graph:
    graph = Graph()
    graph.link_nodes(_buffer(graph, size, "rgb32"), graph.add(*step), graph.add("buffersink")).configure()
    return graph
