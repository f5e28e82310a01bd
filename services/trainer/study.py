"""The studied target as the trainer reads it: what the request's artifacts hold, as frames and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import DataCorrupted
from services.common.frames import FrameReader
from services.common.shards import MATTES_NAME, ShardEntry, shard_entries
from services.common.tracks import CameraPath, PoseTrack


@dataclass(frozen=True)
class StudyRefs:
    """The artifacts that a target's study consists of."""

    clip: ArtifactRef
    track: ArtifactRef
    camera: ArtifactRef
    matte_shards: Sequence[ArtifactRef]
    plate: ArtifactRef


class Study:
    """Reads a study. Raises ArtifactNotFound or DataCorrupted where its artifacts are not whole."""

    def __init__(self, artifacts: Artifacts, refs: StudyRefs) -> None:
        self.track = PoseTrack.from_arrays(artifacts.open(refs.track).read_arrays("track.safetensors"))
        self.camera = CameraPath.from_arrays(artifacts.open(refs.camera).read_arrays("camera.safetensors"))
        self.plate_png = artifacts.open(refs.plate).read_bytes("plate.png")
        self.plate = _decode_plate(self.plate_png)
        self._frames = FrameReader(artifacts, shard_entries(artifacts.open(refs.clip).facts))
        self._mattes = FrameReader(
            artifacts, [_matte_entry(artifacts, ref) for ref in refs.matte_shards], object_name=MATTES_NAME
        )

    def frames(self, first: int, last: int) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        """(index, picture (H, W, 3), alpha (H, W)) for first <= index < last, where both can be read."""
        mattes = self._mattes.frames(first, last)
        index, matte = next(mattes, (last, None))
        for frame, picture in self._frames.frames(first, last):
            while index < frame:
                index, matte = next(mattes, (last, None))
            if index == frame and matte is not None:
                yield frame, picture, matte

    def some(self, indices: Iterable[int]) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        """The same for frames here and there, which are read without those between."""
        for index in indices:
            yield from self.frames(index, index + 1)


def _matte_entry(artifacts: Artifacts, ref: ArtifactRef) -> ShardEntry:
    facts = artifacts.open(ref).facts
    return ShardEntry(ref, int(facts["first_frame"]), int(facts["frame_count"]))


def _decode_plate(data: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise DataCorrupted("plate.png cannot be decoded; run the same command again", object="plate.png")
    return np.asarray(picture, dtype=np.uint8)
