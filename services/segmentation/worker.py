"""The three stages of segmentation, each a pure function of artifacts: camera path, mattes of a shard, plate."""

from __future__ import annotations

import io
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import InvalidOption
from services.common.frames import read_shard, write_mattes
from services.common.shards import FRAMES_NAME, MATTES_NAME
from services.common.stage import Job
from services.common.tracks import CameraPath, PoseTrack
from services.segmentation import backends
from services.segmentation.clip import CoveredFrames, MeasuredFrames, People, open_track, read_poses
from services.segmentation.people import Keypoints, same_person
from services.segmentation.plate import build_plate
from services.segmentation.registration import register_camera

Image = NDArray[np.uint8]
Inputs = dict[str, ArtifactRef | Sequence[ArtifactRef]]
_Alpha = Callable[[int, Image], Image]

CAMERA_VERSION = 1
MATTES_VERSION = 1
PLATE_VERSION = 2
_PREVIEW_SIDE_PX = 640


@dataclass(frozen=True)
class CameraRequest:
    """A clip whose camera is wanted, its subject and everybody in it."""

    clip: ArtifactRef
    track: ArtifactRef
    pose_shards: Sequence[ArtifactRef] = ()

    @property
    def recipe(self) -> Recipe:
        inputs: Inputs = {"clip": self.clip, "track": self.track, "pose_shards": list(self.pose_shards)}
        return Recipe("camera_path", "segmentation.register_camera", CAMERA_VERSION, inputs)


@dataclass(frozen=True)
class MattesRequest:
    """A frame shard whose subject's alpha is wanted. poses: everybody in the same frames, to keep them out."""

    shard: ArtifactRef
    track: ArtifactRef
    first_frame: int
    backend: str
    poses: ArtifactRef | None = None


@dataclass(frozen=True)
class PlateRequest:
    """A clip whose empty background is wanted."""

    clip: ArtifactRef
    camera: ArtifactRef
    matte_shards: Sequence[ArtifactRef]
    pose_shards: Sequence[ArtifactRef] = ()

    @property
    def recipe(self) -> Recipe:
        inputs: Inputs = {
            "clip": self.clip,
            "camera": self.camera,
            "matte_shards": list(self.matte_shards),
            "pose_shards": list(self.pose_shards),
        }
        return Recipe("plate", "segmentation.build_plate", PLATE_VERSION, inputs)


@dataclass
class Segmentation:
    """The stages' work. threads: frames that are segmented at the same time."""

    artifacts: Artifacts
    weights_dir: Path
    default_backend: str = "mediapipe"
    threads: int = 1
    _loaded: dict[str, backends.Segmenter] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> None:
        """Brings the default backend into memory. Raises WeightsMissing, DataCorrupted or InvalidOption."""
        self.segmenter(self.default_backend)

    def segmenter(self, name: str) -> backends.Segmenter:
        """A backend, loaded once; an empty name means the default. Raises as `load`."""
        name = name or self.default_backend
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = backends.load(name, self.weights_dir)
            return self._loaded[name]

    def mattes_recipe(self, request: MattesRequest) -> Recipe:
        """Everything that decides the mattes; loads the backend, whose weights are part of it."""
        inputs: Inputs = {"shard": request.shard, "track": request.track}
        if request.poses is not None:
            inputs["poses"] = request.poses
        options = {"first_frame": request.first_frame}
        model = self.segmenter(request.backend).model
        return Recipe("matte_shard", "segmentation.segment_frames", MATTES_VERSION, inputs, options, model)

    def register(self, request: CameraRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """The camera of every frame. Raises InvalidOption when the track is not the clip's."""
        frames = MeasuredFrames(self.artifacts, request.clip)
        track = _checked(open_track(self.artifacts, request.track), len(frames), frames.width, frames.height)
        everybody = People(self.artifacts, request.pose_shards)

        def people(index: int) -> list[Keypoints]:
            subject = [track.keypoints[index]] if track.valid[index] else []
            return subject + everybody(index)

        def step(done: int) -> None:
            job.check()
            job.progress(done, len(frames), "frames")

        found = register_camera(frames, people, step)
        writer.put_arrays("camera.safetensors", found.path.to_arrays())
        return {
            "reference_frame": found.path.reference_frame,
            "median_displacement_px": round(found.median_displacement_px, 3),
            "max_displacement_px": round(found.max_displacement_px, 3),
            "residual_px": round(found.residual_px, 3),
            "registered_fraction": round(found.registered_fraction, 4),
            "warnings": found.warnings,
        }

    def segment(self, request: MattesRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """The subject's alpha in each frame of a shard; empty where the subject is not known."""
        shard = self.artifacts.open(request.shard)
        expected = int(shard.facts["frame_count"])
        track = open_track(self.artifacts, request.track)
        if request.first_frame < 0 or request.first_frame + expected > len(track):
            raise InvalidOption(
                f"the pose track has {len(track)} frames, the shard wants frames {request.first_frame} to "
                f"{request.first_frame + expected - 1}"
            )
        poses = {} if request.poses is None else read_poses(self.artifacts, request.poses)
        segmenter = self.segmenter(request.backend)
        counts = {"done": 0, "empty": 0}

        def alpha(index: int, frame: Image) -> Image:
            if not track.valid[index]:
                return np.zeros(frame.shape[:2], dtype=np.uint8)
            subject = track.keypoints[index]
            others = [person for person in poses.get(index, ()) if not same_person(person, subject)]
            return segmenter.segment(frame, subject, others)

        def mattes() -> Iterator[tuple[int, Image]]:
            for index, matte in self._in_parallel(alpha, read_shard(shard.local_path(FRAMES_NAME))):
                counts["done"] += 1
                counts["empty"] += not matte.any()
                job.check()
                job.progress(counts["done"], expected, "frames")
                yield index, matte

        archive = io.BytesIO()
        write_mattes(archive, mattes())
        writer.put_bytes(MATTES_NAME, archive.getvalue())
        return {"first_frame": request.first_frame, "frame_count": counts["done"], "empty_count": counts["empty"]}

    def plate(self, request: PlateRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """The empty background. Raises InvalidOption when the camera path is not the clip's."""
        frames = CoveredFrames(self.artifacts, request.clip, request.matte_shards, request.pose_shards)
        camera = CameraPath.from_arrays(self.artifacts.open(request.camera).read_arrays("camera.safetensors"))
        if len(camera) != len(frames):
            raise InvalidOption(f"the camera path has {len(camera)} frames, the clip {len(frames)}")

        def step(done: int, total: int) -> None:
            job.check()
            job.progress(done, total, "frames")

        plate = build_plate(frames, camera.matrices, step)
        writer.put_bytes("plate.png", _encoded(".png", plate.picture))
        writer.put_bytes("coverage.png", _encoded(".png", plate.seen.astype(np.uint8) * np.uint8(255)))
        writer.put_bytes("preview.jpg", _encoded(".jpg", _preview(plate.picture)))
        facts: Facts = {
            "seen_fraction": round(plate.seen_fraction, 5),
            "fill_method": plate.fill_method,
            "warnings": plate.warnings,
        }
        if math.isfinite(plate.heldout_error):
            facts["heldout_error"] = round(plate.heldout_error, 3)
        if math.isfinite(plate.heldout_error_unregistered):
            facts["heldout_error_unregistered"] = round(plate.heldout_error_unregistered, 3)
        return facts

    def _in_parallel(self, alpha: _Alpha, frames: Iterator[tuple[int, Image]]) -> Iterator[tuple[int, Image]]:
        """(index, alpha) in order, with a few frames under way at the same time."""
        waiting: deque[tuple[int, Future[Image]]] = deque()
        with ThreadPoolExecutor(self.threads, thread_name_prefix="segment") as pool:
            for index, frame in frames:
                waiting.append((index, pool.submit(alpha, index, frame)))
                if len(waiting) > 2 * self.threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()


def _checked(track: PoseTrack, frames: int, width: int, height: int) -> PoseTrack:
    if len(track) != frames or (track.width, track.height) != (width, height):
        raise InvalidOption(
            f"the pose track is of {len(track)} frames of {track.width} x {track.height} px, the clip has {frames} of "
            f"{width} x {height} px"
        )
    return track


def _encoded(ending: str, picture: Image) -> bytes:
    if picture.ndim == 3:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), dtype=np.uint8)
    _, data = cv2.imencode(ending, picture)
    return data.tobytes()


def _preview(picture: Image) -> Image:
    height, width = picture.shape[:2]
    scale = min(1.0, _PREVIEW_SIDE_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
