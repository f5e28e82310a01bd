"""Artifacts of one clip as the algorithms want to see them: frames, people, mattes, by frame index."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts
from services.common.frames import FrameReader, Reduction
from services.common.shards import MATTES_NAME, ShardEntry, shard_of
from services.common.skeleton import BODY
from services.common.tracks import PoseTrack
from services.segmentation.hiding import hidden_by
from services.segmentation.people import Keypoints, silhouette

Image = NDArray[np.uint8]

_MEASURED_SIDE_PX = 960  # the longer side of frames that the camera is measured on, at most
_KEPT_POSE_SHARDS = 4
_OTHERS_GROW = 1.3
_SUBJECT_SHARE = 0.5  # of a person's joints inside the subject's matte: then it is the subject


def open_track(artifacts: Artifacts, ref: ArtifactRef) -> PoseTrack:
    """The pose track of a clip."""
    return PoseTrack.from_arrays(artifacts.open(ref).read_arrays("track.safetensors"))


class People:
    """Everybody in a frame, from the clip's pose shards in order."""

    def __init__(self, artifacts: Artifacts, pose_shards: Sequence[ArtifactRef]) -> None:
        self._artifacts, self._shards = artifacts, pose_shards
        self._open: OrderedDict[int, dict[int, NDArray[np.float32]]] = OrderedDict()

    def __call__(self, index: int) -> list[Keypoints]:
        """Poses float32 (133, 3) of the people in frame `index`, px of the frame as filmed."""
        number = shard_of(index)
        if number >= len(self._shards):
            return []
        frames = self._open.get(number)
        if frames is None:
            frames = self._open[number] = read_poses(self._artifacts, self._shards[number])
            if len(self._open) > _KEPT_POSE_SHARDS:
                self._open.popitem(last=False)
        return list(frames.get(index, ()))


def read_poses(artifacts: Artifacts, ref: ArtifactRef) -> dict[int, NDArray[np.float32]]:
    """People by frame index, float32 (N, 133, 3) each, of one pose shard."""
    arrays = artifacts.open(ref).read_arrays("poses.safetensors")
    offsets, keypoints = arrays["offsets"], arrays["keypoints"]
    return {
        int(index): keypoints[int(first) : int(end)]
        for index, first, end in zip(arrays["frame_index"], offsets, offsets[1:], strict=False)
    }


class MeasuredFrames:
    """Reduced grey frames: see `services.segmentation.registration.GrayFrames`."""

    def __init__(self, artifacts: Artifacts, clip: ArtifactRef) -> None:
        facts = artifacts.open(clip).facts
        self.width, self.height = int(facts["width"]), int(facts["height"])
        reductions: tuple[Reduction, ...] = (1, 2, 4)
        side = max(self.width, self.height)
        reduction: Reduction = next((each for each in reductions if side <= each * _MEASURED_SIDE_PX), 8)
        self._reader = FrameReader.of_clip(artifacts, facts, reduction=reduction)
        self._count = int(facts["frame_count"])

    def __len__(self) -> int:
        return self._count

    def gray(self, index: int) -> Image:
        return np.asarray(cv2.cvtColor(self._reader.frame(index), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


class CoveredFrames:
    """Frames and what hides their background: see `services.segmentation.plate.PlateFrames`."""

    def __init__(
        self,
        artifacts: Artifacts,
        clip: ArtifactRef,
        matte_shards: Sequence[ArtifactRef],
        pose_shards: Sequence[ArtifactRef],
    ) -> None:
        facts = artifacts.open(clip).facts
        self.width, self.height = int(facts["width"]), int(facts["height"])
        self._count = int(facts["frame_count"])
        self._frames = FrameReader.of_clip(artifacts, facts)
        self._mattes = FrameReader(artifacts, _matte_entries(artifacts, matte_shards), object_name=MATTES_NAME)
        self._people = People(artifacts, pose_shards)

    def __len__(self) -> int:
        return self._count

    def rgb(self, index: int) -> Image:
        return self._frames.frame(index)

    def hidden(self, index: int) -> Image:
        matte = self._mattes.frame(index)
        height, width = matte.shape
        others = [person for person in self._people(index) if not is_subject(person, matte)]
        return hidden_by([matte, *(silhouette(person, height, width, grow=_OTHERS_GROW) for person in others)])


def is_subject(person: Keypoints, matte: Image) -> bool:
    """Whether a pose (133, 3) is that of the person whose matte, uint8 (H, W), is given: most joints lie in it."""
    height, width = matte.shape
    body = person[BODY]
    points = np.rint(body[body[:, 2] > 0.3, :2]).astype(np.int64)
    inside = (points >= 0).all(axis=1) & (points < [width, height]).all(axis=1)
    points = points[inside]
    if not len(points):
        return False
    return bool((matte[points[:, 1], points[:, 0]] > 64).mean() >= _SUBJECT_SHARE)


def _matte_entries(artifacts: Artifacts, refs: Sequence[ArtifactRef]) -> list[ShardEntry]:
    entries = []
    for ref in refs:
        facts = artifacts.open(ref).facts
        entries.append(ShardEntry(ref, int(facts["first_frame"]), int(facts["frame_count"])))
    return entries
