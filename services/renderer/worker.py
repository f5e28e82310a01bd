"""The renderer's own logic: a performer and a driven track to frames."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.camera import compose, invert, resize
from services.common.errors import DataCorrupted, InvalidOption, NoPersonFound
from services.common.frames import encode_matte, write_frames
from services.common.nn.layer import cut_out, decontaminated, lay_over
from services.common.nn.processors import available_cpus
from services.common.nn.window import follow_window
from services.common.shadow import Shadow, feet_of
from services.common.shards import FRAMES_NAME, MATTES_NAME, matte_name, write_encoded
from services.common.stage import Job
from services.common.tracks import PoseTrack
from services.renderer.backdrop import PLATE, Backdrop
from services.renderer.families import Windows, open_windows
from services.renderer.runtimes import Runtime, choose_runtime
from services.renderer.scenery import Scenery, open_scenery

Picture = NDArray[np.uint8]
Window = NDArray[np.float32]

# Raised whenever the same request would now give other bytes.
VERSION = 9
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
    backdrop: Backdrop = PLATE


def rendered_recipe(request: RenderRequest) -> Recipe:
    """Everything that decides the rendered shard. Raises InvalidOption for an impossible range.

    Which runtime computes, and on what, is not in it, as which processor trains is not: the network is the performer's,
    so its key names it, and workers of both kinds share one transfer. What they render differs by rounding (README.md).
    """
    if request.first_frame < 0 or not 0 < request.frame_count <= _MOST_FRAMES:
        raise InvalidOption(
            f"frames are rendered {_MOST_FRAMES} at a time at most, from frame 0 on; asked for {request.frame_count} "
            f"from {request.first_frame}"
        )
    return Recipe(
        "rendered_shard",
        "rendering",
        VERSION,
        {"performer": request.performer, "driven_track": request.driven_track, **request.backdrop.inputs()},
        {"first_frame": request.first_frame, "frame_count": request.frame_count, **request.backdrop.options()},
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
    """A performer ready to perform one driven track.

    matrices: (T, 2, 3), plate px to px of the windows. shadow, feet: what is under its feet, and where they stand.
    """

    windows: Windows
    plate: Picture
    matrices: NDArray[np.float64]
    track: PoseTrack
    shadow: Shadow | None
    feet: NDArray[np.float64]


class Renderer:
    """Renders runs of frames. Keeps the last performance set up; everything else is in the request.

    runtime, cache_dir: see `choose_runtime`; the cache is in the temporary folder when none is given.
    """

    def __init__(
        self, artifacts: Artifacts, threads: int = 0, runtime: str = "auto", cache_dir: Path | None = None
    ) -> None:
        self._artifacts = artifacts
        self._threads = threads or available_cpus()
        self._choice = runtime
        self._cache_dir = cache_dir or Path(tempfile.gettempdir()) / "understudy-cache"
        self._lock = threading.Lock()
        # One thread: batches are made one after the other, also those that a request which ended early has left.
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="windows")
        self._runtime: Runtime | None = None
        self._ready: tuple[tuple[ArtifactRef, ArtifactRef], _Stage] | None = None
        self._scenery: tuple[tuple[ArtifactRef, ArtifactRef, Backdrop], Scenery] | None = None

    def load(self) -> None:
        """Chooses what runs the networks; a performer is loaded with the first frames of it that are asked for.

        Raises ServiceUnavailable when the runtime that the settings name is not installed.
        """
        with self._lock:
            self._open_runtime()

    def _open_runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = choose_runtime(self._choice, self._threads, self._cache_dir)
        return self._runtime

    def render(self, request: RenderRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Renders the frames as a frame shard. Returns the facts of the rendered_shard.

        Raises NoPersonFound, DataCorrupted, InvalidOption for another background than the performer can stand before,
        and whatever stops `job`.
        """
        transparent = request.backdrop.kind == "transparent"
        # One at a time: the network already uses every processor that it may.
        with self._lock:
            stage = self._set_up(request.performer, request.driven_track)
            if not stage.windows.cuts_out and request.backdrop.kind != "plate":
                raise InvalidOption(
                    "this performer paints its own background and cannot be cut out of it; leave the background out, "
                    "or train one of the family composite"
                )
            scenery = self._set_scenery(request, stage)
            if transparent:
                count = _write_cut_outs(writer, self._cut_outs(stage, scenery, request, job))
            else:
                file = io.BytesIO()
                count = write_frames(file, self._pictures(stage, scenery, request, job))
                writer.put_bytes(FRAMES_NAME, file.getvalue())
        return {
            "first_frame": request.first_frame,
            "frame_count": request.frame_count,
            "rendered_count": count,
            "width": scenery.width,
            "height": scenery.height,
            **({"has_alpha": True} if transparent else {}),
        }

    def _pictures(
        self, stage: _Stage, scenery: Scenery, request: RenderRequest, job: Job
    ) -> Iterator[tuple[int, Picture]]:
        clean, factor = request.backdrop.kind != "plate", stage.windows.factor
        for frame, pose, window in self._perform(stage, request, job):
            view, behind = scenery.view(frame, pose), scenery.behind(frame)
            if stage.shadow is not None and request.backdrop.has_floor:
                behind = stage.shadow.cast(behind, stage.feet[pose], view)
            matrix = compose(stage.matrices[pose], invert(view))
            yield frame, lay_over(behind, decontaminated(window, factor) if clean else window, matrix)

    def _cut_outs(
        self, stage: _Stage, scenery: Scenery, request: RenderRequest, job: Job
    ) -> Iterator[tuple[int, Picture, Picture]]:
        for frame, pose, window in self._perform(stage, request, job):
            matrix, factor = stage.matrices[pose], stage.windows.factor
            yield frame, *cut_out(decontaminated(window, factor), matrix, scenery.width, scenery.height)

    def _perform(self, stage: _Stage, request: RenderRequest, job: Job) -> Iterator[tuple[int, int, Window]]:
        """(frame, pose that it shows, its window) in order of the frames."""
        poses = performed_frames(stage.track.valid)
        start = int(np.argmax(stage.track.valid))
        first = max(request.first_frame, start)
        last = min(request.first_frame + request.frame_count, start + len(poses))
        if last <= first:
            return
        asked = poses[first - start : last - start]
        # A held pose is generated once.
        done = 0
        for pose, window in self._made_ahead(stage.windows, np.unique(asked), job):
            while done < len(asked) and int(asked[done]) == pose:
                yield first + done, pose, window
                done += 1
                job.progress(done, len(asked), "frames")

    def _made_ahead(self, windows: Windows, poses: NDArray[np.int64], job: Job) -> Iterator[tuple[int, Window]]:
        """(pose, its window) of these poses in order. While one batch is laid over its background and compressed, the
        next is made. Batches begin at the first pose, which makes them repeatable.
        """
        batches = [poses[begin : begin + windows.batch] for begin in range(0, len(poses), windows.batch)]
        coming = self._ahead.submit(windows, batches[0])
        for index, batch in enumerate(batches):
            job.check()
            made = coming.result()
            if index + 1 < len(batches):
                coming = self._ahead.submit(windows, batches[index + 1])
            yield from zip(batch.tolist(), made, strict=True)

    def _set_scenery(self, request: RenderRequest, stage: _Stage) -> Scenery:
        key = (request.performer, request.driven_track, request.backdrop)
        if self._scenery is None or self._scenery[0] != key:
            self._scenery = key, open_scenery(self._artifacts, request.backdrop, stage.plate, stage.track)
        return self._scenery[1]

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
        centre = np.array(config["centre"]) if config.get("centre") else None
        window = follow_window(track, config["scale"], config["resolution"], config["multiple"], centre)
        plate = cv2.imdecode(np.frombuffer(performer.read_bytes("plate.png"), np.uint8), cv2.IMREAD_COLOR_RGB)
        windows = open_windows(performer, config, window, track, self._threads, self._open_runtime())
        size = (window.width, window.height)
        enlarge = resize(size, (windows.factor * size[0], windows.factor * size[1]))
        matrices = compose(enlarge, window.matrices)
        shadow = Shadow.from_json(config["shadow"]) if config.get("shadow") else None
        feet = feet_of(track, shadow.height if shadow else 1.0)
        stage = _Stage(windows, np.asarray(plate, dtype=np.uint8), matrices, track, shadow, feet)
        self._ready = (refs, stage)
        return stage


def _write_cut_outs(writer: ArtifactWriter, cut_outs: Iterator[tuple[int, Picture, Picture]]) -> int:
    """Colour as frames, alpha as mattes. Returns how many."""
    mattes: list[tuple[int, bytes]] = []

    def colours() -> Iterator[tuple[int, Picture]]:
        for frame, colour, alpha in cut_outs:
            mattes.append((frame, encode_matte(alpha)))
            yield frame, colour

    frames, alphas = io.BytesIO(), io.BytesIO()
    count = write_frames(frames, colours())
    write_encoded(alphas, ((matte_name(frame), data) for frame, data in mattes))
    writer.put_bytes(FRAMES_NAME, frames.getvalue())
    writer.put_bytes(MATTES_NAME, alphas.getvalue())
    return count
