"""Puts a made-up study (`tests.unit.trainer.figure`) into a store, as the stages before training would leave it."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from services.common.artifacts import ArtifactRef, Artifacts, Facts, Recipe
from services.common.frames import write_frames, write_mattes
from services.common.nn.generator import GeneratorConfig
from services.common.nn.pix2pixhd import Pix2PixHDConfig
from services.common.nn.window import fit_window
from services.common.puppet import References, put_references
from services.common.shards import FRAMES_NAME, FRAMES_PER_SHARD, MATTES_NAME
from services.common.stage import Job
from services.common.tracks import PoseTrack
from services.trainer.draft import DraftConfig
from services.trainer.study import StudyRefs
from services.trainer.worker import Trainer, TrainRequest, performer_recipe
from tests.unit.trainer.figure import Study

RATE = {"numerator": 24000, "denominator": 1001}


def store_study(artifacts: Artifacts, study: Study, name: str = "target", audio: Path | None = None) -> StudyRefs:
    """Stores clip, track, camera, mattes and plate. `name` tells studies in one store apart."""
    height, width = study.frames[0].shape[:2]
    shards, mattes = [], []
    for first in range(0, len(study.frames), FRAMES_PER_SHARD):
        last = min(first + FRAMES_PER_SHARD, len(study.frames))
        facts: Facts = {"first_frame": first, "frame_count": last - first, "width": width, "height": height}
        file = io.BytesIO()
        write_frames(file, ((t, study.frames[t]) for t in range(first, last)))
        ref = _store(artifacts, "frame_shard", f"{name}-{first}", {FRAMES_NAME: file.getvalue()}, facts)
        shards.append({"artifact": ref.to_json(), "first_frame": first, "frame_count": last - first})
        file = io.BytesIO()
        write_mattes(file, ((t, study.mattes[t]) for t in range(first, last)))
        mattes.append(_store(artifacts, "matte_shard", f"{name}-{first}", {MATTES_NAME: file.getvalue()}, facts))
    clip: Facts = {
        "shards": shards, "width": width, "height": height, "frame_count": len(study.frames), "frame_rate": RATE,
        "has_audio": audio is not None,
    }  # fmt: skip
    sound = {"audio.mka": audio.read_bytes()} if audio is not None else {}
    clip_ref = _store(artifacts, "clip", name, sound, clip)
    track = store_track(artifacts, study.track, "pose_track", name)
    writer = artifacts.write(Recipe("camera_path", "test", 1, {"track": track}, {"name": name}))
    writer.put_arrays("camera.safetensors", study.camera.to_arrays())
    camera = artifacts.commit(writer, {}).ref
    writer = artifacts.write(
        Recipe("plate", "test", 1, {"clip": clip_ref, "camera": camera, "matte_shards": mattes}, {"name": name})
    )
    writer.put_bytes("plate.png", _png(study.plate))
    return StudyRefs(clip_ref, track, camera, mattes, artifacts.commit(writer, {}).ref)


def store_track(artifacts: Artifacts, track: PoseTrack, kind: str, name: str) -> ArtifactRef:
    """Stores a pose_track or driven_track."""
    writer = artifacts.write(Recipe(kind, "test", 1, options={"name": name}))
    writer.put_arrays("track.safetensors", track.to_arrays())
    return artifacts.commit(writer, {}).ref


def _store(artifacts: Artifacts, kind: str, name: str, objects: dict[str, bytes], facts: Facts) -> ArtifactRef:
    writer = artifacts.write(Recipe(kind, "test", 1, options={"name": name}))
    for key, data in objects.items():
        writer.put_bytes(key, data)
    return artifacts.commit(writer, facts).ref


def _png(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return bytes(data)


def store_performer(
    artifacts: Artifacts,
    study: Study,
    config: GeneratorConfig | Pix2PixHDConfig,
    model: bytes,
    resolution: int,
    family: str = "composite",
) -> ArtifactRef:
    """Stores a performer with the ONNX model as it is, untrained, and one reference that adds no detail."""
    window = fit_window(study.track.transformed(study.camera.matrices), resolution)
    height, width = study.plate.shape[:2]
    described = {
        "format": 1, "family": family, "preset": "preview", "resolution": resolution, "scale": window.scale,
        "multiple": config.multiple, "width": width, "height": height, "generator": config.to_json(),
    }  # fmt: skip
    registered = study.track.transformed(study.camera.matrices)
    pictures = np.zeros((1, resolution, resolution, 4), np.uint8)
    writer = artifacts.write(Recipe("performer", "test", 1, options={"name": family}))
    writer.put_json("config.json", described)
    writer.put_bytes("generator.onnx", model)
    writer.put_bytes("plate.png", _png(study.plate))
    put_references(writer, References(pictures, window.keypoints(registered)[:1]))
    return artifacts.commit(writer, {}).ref


def store_draft(artifacts: Artifacts, refs: StudyRefs) -> ArtifactRef:
    """Makes and stores the draft performer of a stored study, by the trainer's own code."""
    request = TrainRequest(refs, DraftConfig())
    writer = artifacts.write(performer_recipe(request))
    facts = Trainer(artifacts, "cpu").train(request, Job(), writer)
    return artifacts.commit(writer, facts).ref
