"""Pose: everyone in the frames of a shard, and one subject's track through a clip."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import InvalidOption
from services.common.frames import FrameReader
from services.common.shards import FRAMES_NAME, ShardEntry
from services.common.stage import Job
from services.pose.assemble import assemble
from services.pose.association import associate
from services.pose.backends import DEFAULT, FramePoses, Image, PoseBackend, load_backend
from services.pose.people import contact_sheet, describe, sheet_frames
from services.pose.subject import Identity, identities, noticed

POSES_VERSION: Final = 2
TRACK_VERSION: Final = 3
PEOPLE_VERSION: Final = 1
POSES_NAME: Final = "poses.safetensors"
TRACK_NAME: Final = "track.safetensors"
SHEET_NAME: Final = "sheet.jpg"


@dataclass(frozen=True)
class TrackRequest:
    """Whom to follow through which clip. role: "source" or "target", for messages."""

    clip: ArtifactRef
    pose_shards: Sequence[ArtifactRef]
    subject: str
    role: str

    @property
    def recipe(self) -> Recipe:
        inputs: dict[str, ArtifactRef | Sequence[ArtifactRef]] = {"clip": self.clip, "pose_shards": self.pose_shards}
        options = {"subject": self.subject, "role": self.role}
        return Recipe("pose_track", "pose.assemble_track", TRACK_VERSION, inputs, options)


@dataclass(frozen=True)
class PeopleRequest:
    """A clip whose people are wanted, numbered."""

    clip: ArtifactRef
    pose_shards: Sequence[ArtifactRef]

    @property
    def recipe(self) -> Recipe:
        inputs: dict[str, ArtifactRef | Sequence[ArtifactRef]] = {"clip": self.clip, "pose_shards": self.pose_shards}
        return Recipe("people", "pose.list_people", PEOPLE_VERSION, inputs)


@dataclass
class Pose:
    """The stage's logic. Use it from several threads at once."""

    artifacts: Artifacts
    weights_dir: Path
    default_backend: str
    threads: int
    _loaded: dict[str, PoseBackend] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> None:
        """Brings the default network into memory. Raises WeightsMissing."""
        self.backend("")

    def backend(self, name: str) -> PoseBackend:
        """A backend, loaded once; an empty name means the default. Raises InvalidOption, WeightsMissing."""
        name = name or self.default_backend or DEFAULT
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = load_backend(name, self.weights_dir, self.threads)
            return self._loaded[name]

    def poses_recipe(self, shard: ArtifactRef, backend: str, object_name: str = "") -> Recipe:
        """Everything that decides the poses; loads the backend, whose weights are part of it."""
        kind = "pose_shard" if shard.kind == "frame_shard" else "result_poses"
        options = {"object_name": object_name} if object_name else {}
        return Recipe(
            kind, "pose.estimate_poses", POSES_VERSION, {"shard": shard}, options, self.backend(backend).digest
        )

    def estimate(
        self, shard: ArtifactRef, backend: str, job: Job, writer: ArtifactWriter, object_name: str = ""
    ) -> Facts:
        """Everyone in each frame of one shard. object_name: of the frames; empty is frames.tar."""
        frames = ShardFrames(self.artifacts, shard, object_name or FRAMES_NAME)

        def on_frame(done: int) -> None:
            job.check()
            job.progress(done, len(frames), "frames")

        found = self.backend(backend).estimate(frames, on_frame)
        writer.put_arrays(POSES_NAME, pack(frames.indices, found))
        counts = [len(poses.scores) for poses in found]
        return {
            "frame_count": len(frames),
            "frames_with_people": sum(count > 0 for count in counts),
            "most_people": max(counts, default=0),
        }

    def assemble(self, request: TrackRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """One subject followed through the clip. Raises NoPersonFound, PersonTooSmall, InvalidOption."""
        clip = self.artifacts.open(request.clip).facts
        rate = _rate(clip)
        people = self._people(request.pose_shards, int(clip["frame_count"]))
        job.check()
        found = assemble(
            people, rate, int(clip["width"]), int(clip["height"]), subject=request.subject, role=request.role or "clip"
        )
        writer.put_arrays(TRACK_NAME, found.track.to_arrays())
        return {
            "frame_count": len(found.track),
            "valid_frame_count": int(found.track.valid.sum()),
            "invalid_ranges": [asdict(each) for each in found.invalid_ranges],
            "people_seen": found.people_seen,
            "median_height_px": round(found.median_height_px, 2),
            "warnings": found.warnings,
        }

    def list_people(self, request: PeopleRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Everybody, numbered as `AssembleTrack` counts them, with a contact sheet when there is anybody."""
        clip = self.artifacts.open(request.clip).facts
        rate = _rate(clip)
        found = identities(associate(self._people(request.pose_shards, int(clip["frame_count"])), rate), rate)
        job.check()
        people = noticed(found, rate)
        if people:
            writer.put_bytes(SHEET_NAME, self._sheet(clip, people, rate, job))
        return {
            "people": [describe(person, index, int(clip["width"])) for index, person in enumerate(people)],
            "frame_count": int(clip["frame_count"]),
            "width": int(clip["width"]),
            "height": int(clip["height"]),
            "frame_rate": dict(clip["frame_rate"]),
        }

    def _sheet(self, clip: Facts, people: Sequence[Identity], rate: float, job: Job) -> bytes:
        reader = FrameReader.of_clip(self.artifacts, clip)
        pictures: dict[int, Image] = {}
        for frame in sheet_frames(people):
            job.check()
            pictures[frame] = reader.frame(frame)
        sheet = cv2.cvtColor(contact_sheet(pictures, people, rate), cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", sheet, (cv2.IMWRITE_JPEG_QUALITY, 90))
        return bytes(data)

    def _people(self, pose_shards: Sequence[ArtifactRef], frame_count: int) -> list[NDArray[np.float32]]:
        people: dict[int, NDArray[np.float32]] = {}
        for ref in pose_shards:
            people |= unpack(self.artifacts.open(ref).read_arrays(POSES_NAME))
        nobody = np.zeros((0, 133, 3), dtype=np.float32)
        if any(not 0 <= index < frame_count for index in people):
            raise InvalidOption(f"the poses are not of this clip: it has {frame_count} frames", frames=frame_count)
        return [people.get(index, nobody) for index in range(frame_count)]


class ShardFrames(Sequence[Image]):
    """Frames of a shard, decoded on access: a backend may ask twice, and seldom does."""

    def __init__(self, artifacts: Artifacts, ref: ArtifactRef, object_name: str = FRAMES_NAME) -> None:
        facts = artifacts.open(ref).facts
        self.indices = range(int(facts["first_frame"]), int(facts["first_frame"]) + int(facts["frame_count"]))
        self._reader = FrameReader(
            artifacts, [ShardEntry(ref, self.indices.start, len(self.indices))], object_name=object_name
        )

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, position: int) -> Image: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Image]: ...
    def __getitem__(self, position: int | slice) -> Image | Sequence[Image]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        return self._reader.frame(self.indices[position])


def _rate(clip: Facts) -> float:
    return float(clip["frame_rate"]["numerator"] / clip["frame_rate"]["denominator"])


def pack(indices: Sequence[int], found: Sequence[FramePoses]) -> dict[str, NDArray[np.generic]]:
    """The arrays of a pose shard: people of frame f are rows offsets[f]:offsets[f + 1]."""
    counts = [len(poses.scores) for poses in found]
    return {
        "frame_index": np.asarray(indices, dtype=np.int64),
        "offsets": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        "keypoints": np.concatenate([np.zeros((0, 133, 3), np.float32), *(poses.keypoints for poses in found)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(poses.scores for poses in found)]),
    }


def unpack(arrays: dict[str, NDArray[np.generic]]) -> dict[int, NDArray[np.float32]]:
    """Everyone by frame index, each float32 (N, 133, 3)."""
    offsets, keypoints = arrays["offsets"], np.asarray(arrays["keypoints"], np.float32)
    return {
        int(index): keypoints[int(offsets[row]) : int(offsets[row + 1])]
        for row, index in enumerate(np.asarray(arrays["frame_index"], np.int64))
    }
