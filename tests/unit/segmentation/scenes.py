"""A short clip of a drawn dancer with the truth about it, in memory and as artifacts."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common import camera
from services.common.artifacts import ArtifactRef, Artifacts, Facts, Recipe
from services.common.frames import write_frames
from services.common.shards import FRAMES_NAME, FRAMES_PER_SHARD
from services.common.store import MemoryObjectStore
from services.common.synthetic.cast import ADA, SOURCE_DANCE, STUDIO
from services.common.synthetic.render import SyntheticFrame, render_clip
from services.common.tracks import PoseTrack

WIDTH, HEIGHT = 288, 384
MEDIA = Path(__file__).parents[4] / "shared" / "media"


@dataclass(frozen=True)
class Filmed:
    """Frames of the drawn dancer; also what registration and plates read them through."""

    frames: tuple[SyntheticFrame, ...]
    width: int = WIDTH
    height: int = HEIGHT

    def __len__(self) -> int:
        return len(self.frames)

    def rgb(self, index: int) -> NDArray[np.uint8]:
        return self.frames[index].image

    def gray(self, index: int) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(self.frames[index].image, cv2.COLOR_RGB2GRAY), np.uint8)

    @property
    def track(self) -> PoseTrack:
        keypoints = np.zeros((len(self), 133, 3), np.float32)
        for index, frame in enumerate(self.frames):
            keypoints[index, :23, :2] = frame.keypoints
            keypoints[index, :23, 2] = 1
        return PoseTrack(keypoints, np.ones(len(self), np.bool_), self.width, self.height)

    def people(self, index: int) -> list[NDArray[np.float32]]:
        return [self.track.keypoints[index]]

    def true_path(self, reference: int) -> NDArray[np.float64]:
        """Maps from each frame to the `reference` frame's camera, (T, 2, 3)."""
        drift = np.stack([frame.drift for frame in self.frames])
        return camera.compose(drift[reference], camera.invert(drift))


@functools.cache
def filmed(count: int, *, drift: float = 3.0, step: int = 1) -> Filmed:
    """`count` frames, every `step`th of 25 a second; drift 0 is a tripod."""
    scene = replace(STUDIO, drift=drift)
    size = (WIDTH, HEIGHT)
    return Filmed(tuple(render_clip(ADA, SOURCE_DANCE, scene, count, size, 25 / step)))


def memory(folder: Path) -> Artifacts:
    return Artifacts(MemoryObjectStore(), folder)


def store_clip(artifacts: Artifacts, clip: Filmed) -> ArtifactRef:
    """A clip artifact with its frame shards."""
    shards = []
    for first in range(0, len(clip), FRAMES_PER_SHARD):
        indices = range(first, min(len(clip), first + FRAMES_PER_SHARD))
        archive = io.BytesIO()
        write_frames(archive, ((index, clip.rgb(index)) for index in indices))
        facts: Facts = {"first_frame": first, "frame_count": len(indices), "width": clip.width, "height": clip.height}
        recipe = Recipe("frame_shard", "test", 1, options={"first": first, "clip": id(clip)})
        writer = artifacts.write(recipe)
        writer.put_bytes(FRAMES_NAME, archive.getvalue())
        ref = artifacts.commit(writer, facts).ref
        shards.append({"artifact": ref.to_json(), "first_frame": first, "frame_count": len(indices)})
    facts = {"shards": shards, "width": clip.width, "height": clip.height, "frame_count": len(clip)}
    return artifacts.commit(artifacts.write(Recipe("clip", "test", 1, options={"clip": id(clip)})), facts).ref


def store_track(artifacts: Artifacts, track: PoseTrack) -> ArtifactRef:
    writer = artifacts.write(Recipe("pose_track", "test", 1, options={"valid": track.valid.tolist(), "id": id(track)}))
    writer.put_arrays("track.safetensors", track.to_arrays())
    return artifacts.commit(writer, {"frame_count": len(track)}).ref


def store_poses(artifacts: Artifacts, people: list[list[NDArray[np.float32]]], first_frame: int = 0) -> ArtifactRef:
    """A pose shard: people[i] are those of frame first_frame + i."""
    writer = artifacts.write(Recipe("pose_shard", "test", 1, options={"first": first_frame, "id": id(people)}))
    everybody = [person for frame in people for person in frame]
    writer.put_arrays(
        "poses.safetensors",
        {
            "frame_index": np.arange(first_frame, first_frame + len(people), dtype=np.int64),
            "offsets": np.cumsum([0, *(len(frame) for frame in people)], dtype=np.int64),
            "keypoints": np.array(everybody, np.float32).reshape(-1, 133, 3),
            "scores": np.ones(len(everybody), np.float32),
        },
    )
    return artifacts.commit(writer, {"first_frame": first_frame, "frame_count": len(people)}).ref
