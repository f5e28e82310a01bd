"""The renderer's own logic: a performer and a driven track to frames."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.camera import compose, resize
from services.common.errors import DataCorrupted, InvalidOption, NoPersonFound
from services.common.nn.layer import lay_over
from services.common.nn.processors import available_cpus
from services.common.nn.window import follow_window
from services.common.shards import FRAMES_NAME, write_frames
from services.common.stage import Job
from services.common.tracks import PoseTrack
from services.renderer.families import Windows, open_windows

Picture = NDArray[np.uint8]

# Raised whenever the same request would now give other bytes.
VERSION = 2
# Formats of a performer's config.json that this renderer understands.
_CONFIG_FORMATS = (1,)
_MOST_FRAMES = 1024


@dataclass(frozen=True)
class RenderRequest:
    """Frames first_frame <= t < first_frame + frame_count of a performance."""

    performer: ArtifactRef
    driven_track: ArtifactRef
    first_frame: int
    frame_count: int


def rendered_recipe(request: RenderRequest) -> Recipe:
    """Everything that decides the rendered shard. Raises InvalidOption for an impossible range."""
    if request.first_frame < 0 or not 0 < request.frame_count <= _MOST_FRAMES:
        raise InvalidOption(
            f"frames are rendered {_MOST_FRAMES} at a time at most, from frame 0 on; asked for {request.frame_count} "
            f"from {request.first_frame}"
        )
    return Recipe(
        "rendered_shard",
        "rendering",
        VERSION,
        {"performer": request.performer, "driven_track": request.driven_track},
        {"first_frame": request.first_frame, "frame_count": request.frame_count},
    )


def performed_frames(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which pose each frame of the performance shows: int64 (n,), for the frames from the first valid one to the last.

    The performance has the frames from the first in which the source's dancer is seen to the last: what lies before
    and after is cut. Where the dancer is lost in between, the last known pose is held, so that time, and with it the
    sound, runs on. Raises NoPersonFound when no frame is valid.
    """
    seen = np.flatnonzero(valid)
    if not len(seen):
        raise NoPersonFound(f"no dancer in any of the {len(valid)} frames of the source", frames=len(valid))
    frames = np.arange(seen[0], seen[-1] + 1)
    held: NDArray[np.int64] = seen[np.searchsorted(seen, frames, side="right") - 1]
    return held


@dataclass(frozen=True)
class _Stage:
    """A performer ready to perform one driven track. matrices: (T, 2, 3), plate px to px of the windows."""

    windows: Windows
    plate: Picture
    matrices: NDArray[np.float64]
    valid: NDArray[np.bool_]


class Renderer:
    """Renders runs of frames. Keeps the last performance set up; everything else is in the request."""

    def __init__(self, artifacts: Artifacts, threads: int = 0) -> None:
        self._artifacts = artifacts
        self._threads = threads or available_cpus()
        self._lock = threading.Lock()
        self._ready: tuple[tuple[ArtifactRef, ArtifactRef], _Stage] | None = None

    def load(self) -> None:
        """Nothing: a performer is loaded with the first frames of it that are asked for."""

    def render(self, request: RenderRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Renders the frames as a frame shard. Returns the facts of the rendered_shard.

        Raises NoPersonFound, DataCorrupted, and whatever stops `job`.
        """
        # One at a time: the network already uses every processor that it may.
        with self._lock:
            stage = self._set_up(request.performer, request.driven_track)
            file = io.BytesIO()
            count = write_frames(file, self._perform(stage, request, job))
        writer.put_bytes(FRAMES_NAME, file.getvalue())
        height, width = stage.plate.shape[:2]
        return {
            "first_frame": request.first_frame,
            "frame_count": request.frame_count,
            "rendered_count": count,
            "width": width,
            "height": height,
        }

    def _perform(self, stage: _Stage, request: RenderRequest, job: Job) -> Iterator[tuple[int, Picture]]:
        poses = performed_frames(stage.valid)
        start = int(np.argmax(stage.valid))
        first = max(request.first_frame, start)
        last = min(request.first_frame + request.frame_count, start + len(poses))
        if last <= first:
            return
        asked = poses[first - start : last - start]
        # A held pose is generated once; batches begin at the request's first pose, which makes them repeatable.
        shown = np.unique(asked)
        pictures: dict[int, Picture] = {}
        done = 0
        for begin in range(0, len(shown), stage.windows.batch):
            job.check()
            batch = shown[begin : begin + stage.windows.batch]
            for pose, window in zip(batch, stage.windows(batch), strict=True):
                pictures[int(pose)] = lay_over(stage.plate, window, stage.matrices[pose])
            while done < len(asked) and int(asked[done]) in pictures:
                yield first + done, pictures[int(asked[done])]
                done += 1
                job.progress(done, len(asked), "frames")
            pictures = {pose: pictures[pose] for pose in pictures if done < len(asked) and pose >= asked[done]}

    def _set_up(self, performer_ref: ArtifactRef, track_ref: ArtifactRef) -> _Stage:
        refs = (performer_ref, track_ref)
        if self._ready is not None and self._ready[0] == refs:
            return self._ready[1]
        performer = self._artifacts.open(performer_ref)
        config = performer.read_json("config.json")
        if config.get("format") not in _CONFIG_FORMATS:
            raise DataCorrupted(
                f"performer {performer_ref.key[:12]} has configuration format {config.get('format')!r}, "
                f"this renderer knows {', '.join(map(str, _CONFIG_FORMATS))}; train it again"
            )
        track = PoseTrack.from_arrays(self._artifacts.open(track_ref).read_arrays("track.safetensors"))
        performed_frames(track.valid)
        window = follow_window(track, config["scale"], config["resolution"], config["multiple"])
        plate = cv2.imdecode(np.frombuffer(performer.read_bytes("plate.png"), np.uint8), cv2.IMREAD_COLOR_RGB)
        windows = open_windows(performer, config, window, track, self._threads)
        size = (window.width, window.height)
        enlarge = resize(size, (windows.factor * size[0], windows.factor * size[1]))
        matrices = compose(enlarge, window.matrices)
        stage = _Stage(windows, np.asarray(plate, dtype=np.uint8), matrices, track.valid)
        self._ready = (refs, stage)
        return stage
