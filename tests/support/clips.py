"""Clip artifacts from frames in memory, as the downloader would have left them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, Recipe
from services.common.frames import write_frames
from services.common.shards import FRAMES_NAME, FRAMES_PER_SHARD
from services.common.tracks import CameraPath, PoseTrack


def store_clip(artifacts: Artifacts, frames: Sequence[NDArray[np.uint8]], rate: int = 25) -> ArtifactRef:
    """A clip of RGB frames of one size, without sound."""
    height, width = frames[0].shape[:2]
    digest = hashlib.sha256(b"".join(frame.tobytes() for frame in frames)).hexdigest()
    shards = []
    for first in range(0, len(frames), FRAMES_PER_SHARD):
        part = frames[first : first + FRAMES_PER_SHARD]
        archive = io.BytesIO()
        write_frames(archive, enumerate(part, start=first))
        facts = {"first_frame": first, "frame_count": len(part)}
        writer = artifacts.write(Recipe("frame_shard", "test", 1, options={"clip": digest, "first": first}))
        writer.put_bytes(FRAMES_NAME, archive.getvalue())
        ref = artifacts.commit(writer, {**facts, "width": width, "height": height}).ref
        shards.append({"artifact": ref.to_json(), **facts})
    facts_of_clip = {
        "shards": shards,
        "width": width,
        "height": height,
        "frame_count": len(frames),
        "frame_rate": {"numerator": rate, "denominator": 1},
    }
    return artifacts.commit(artifacts.write(Recipe("clip", "test", 1, options={"clip": digest})), facts_of_clip).ref


def store_track(artifacts: Artifacts, track: PoseTrack) -> ArtifactRef:
    digest = hashlib.sha256(track.keypoints.tobytes() + track.valid.tobytes()).hexdigest()
    writer = artifacts.write(Recipe("pose_track", "test", 1, options={"track": digest}))
    writer.put_arrays("track.safetensors", track.to_arrays())
    return artifacts.commit(writer, {"frame_count": len(track)}).ref


def store_camera(artifacts: Artifacts, camera: CameraPath) -> ArtifactRef:
    digest = hashlib.sha256(camera.matrices.tobytes()).hexdigest()
    size = {"width": camera.width, "height": camera.height, "reference": camera.reference_frame}
    writer = artifacts.write(Recipe("camera_path", "test", 1, options={"camera": digest, **size}))
    writer.put_arrays("camera.safetensors", camera.to_arrays())
    return artifacts.commit(writer, {"frame_count": len(camera)}).ref
