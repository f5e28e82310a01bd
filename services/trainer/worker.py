"""The trainer's own logic: from a target's study to a performer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe, Scratch
from services.common.stage import Job
from services.common.telemetry import logger
from services.trainer.augment import whole_batch
from services.trainer.checkpoint import load_checkpoint, save_checkpoint
from services.trainer.data import Split, TrainingSet, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.evaluation import Evaluation, evaluate
from services.trainer.export import export_onnx
from services.trainer.presets import TrainingConfig
from services.trainer.study import Study, StudyRefs
from services.trainer.training import Hooks, Losses, Training, train

_log = logger(__name__)

# Raised whenever the same request would now give another performer.
VERSION = 1
CONFIG_FORMAT = 1


@dataclass(frozen=True)
class TrainRequest:
    """What to learn from and how."""

    refs: StudyRefs
    config: TrainingConfig


def performer_recipe(request: TrainRequest) -> Recipe:
    """Everything that decides the performer."""
    refs = request.refs
    inputs: dict[str, ArtifactRef | Sequence[ArtifactRef]] = {
        "clip": refs.clip, "track": refs.track, "camera": refs.camera,
        "matte_shards": list(refs.matte_shards), "plate": refs.plate,
    }  # fmt: skip
    return Recipe("performer", "training", VERSION, inputs, request.config.to_json())


class Trainer:
    """Trains performers on one device. `train` is one call's work and keeps nothing for the next."""

    def __init__(self, artifacts: Artifacts, device_name: str = "auto", save_every_seconds: float = 25.0) -> None:
        self._artifacts = artifacts
        self._device_name = device_name
        self._save_every_seconds = save_every_seconds

    def load(self) -> None:
        """Raises RuntimeError when the device that the settings name is not there."""
        choose_device(self._device_name)

    def train(self, request: TrainRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Trains, measures, exports; goes on from the newest checkpoint where there is one.

        Returns the facts of the performer (the Performer message). Raises ClipTooShort when too few frames show the
        person, FloatingPointError when the training diverges, and whatever stops `job`, after a checkpoint.
        """
        config = request.config
        device = choose_device(self._device_name)
        study = Study(self._artifacts, request.refs)
        split = split_clip(study.track, study.camera, config.resolution, config.most_frames)
        data = _read(study, split, config, job).to(device.torch)
        training = Training(config, data, device)
        scratch = self._artifacts.scratch(writer.recipe.key)
        self._resume(training, scratch)
        self._run(training, scratch, job)
        job.progress(config.iterations, config.iterations, "iterations", "measuring it on the frames held out")
        evaluation = _measure(training, study, split, job)
        job.progress(config.iterations, config.iterations, "iterations", "exporting it")
        _export(training, study, split, evaluation, writer)
        return _facts(training, study, split, evaluation)

    def forget_work(self, recipe: Recipe) -> None:
        """Removes the checkpoints and samples of a training whose performer is committed."""
        if self._artifacts.exists(recipe.ref):
            self._artifacts.scratch(recipe.key).clear()

    def _resume(self, training: Training, scratch: Scratch) -> None:
        checkpoint, refused = load_checkpoint(scratch, training.config.to_json())
        for line in refused:
            _log.warning("checkpoint refused", detail=line)
        if checkpoint is not None:
            training.restore(checkpoint)
            _log.info("training goes on", iteration=checkpoint.step)
        else:
            _log.info("training begins", iterations=training.config.iterations)

    def _run(self, training: Training, scratch: Scratch, job: Job) -> None:
        total = training.config.iterations
        resumed = f", resumed at {training.step}" if training.step else ""

        def report(step: int, seconds_left: float) -> None:
            job.progress(step, total, "iterations", f"about {seconds_left:.0f} s of training left{resumed}")

        def sample(step: int, losses: Losses) -> None:
            name = f"sample-{step:08d}.jpg"
            scratch.put(name, _jpeg(_sample_sheet(training)))
            job.emit({"iteration": step, "losses": losses, "picture_object": scratch.object_key(name)})

        train(
            training,
            Hooks(
                check=job.check,
                save=lambda checkpoint: save_checkpoint(scratch, checkpoint),
                report=report,
                sample=sample,
                save_every_seconds=self._save_every_seconds,
            ),
        )


def _read(study: Study, split: Split, config: TrainingConfig, job: Job) -> TrainingSet:
    first, last = int(split.training[0]), int(split.training[-1]) + 1
    read = 0

    def seen() -> None:
        nonlocal read
        job.check()
        read += 1
        job.progress(0, config.iterations, "iterations", f"reading frames, {read} of {last - first}")

    return load_training_set(split, study.camera, study.plate, study.frames(first, last), seen)


def _measure(training: Training, study: Study, split: Split, job: Job) -> Evaluation:
    first, last = int(split.heldout[0]), int(split.heldout[-1]) + 1
    return evaluate(
        training.average, training.device, split, training.data, study.camera, study.plate,
        study.frames(first, last), job.check,
    )  # fmt: skip


def _export(training: Training, study: Study, split: Split, evaluation: Evaluation, writer: ArtifactWriter) -> None:
    config = training.config
    weights = {name: value.cpu().contiguous() for name, value in sorted(training.average.state_dict().items())}
    writer.put_bytes("generator.safetensors", safetensors.torch.save(weights))
    writer.put_bytes("generator.onnx", export_onnx(training.average, config.resolution))
    writer.put_json("config.json", {
        "format": CONFIG_FORMAT,
        "family": config.family,
        "preset": config.preset,
        "resolution": config.resolution,
        "scale": split.window.scale,
        "multiple": config.generator.multiple,
        "width": split.track.width,
        "height": split.track.height,
        "generator": config.generator.to_json(),
    })  # fmt: skip
    writer.put_json("metrics.json", {"generated": evaluation.metrics, "nearest": evaluation.nearest})
    writer.put_bytes("plate.png", study.plate_png)
    writer.put_bytes("preview.jpg", _jpeg(evaluation.sheet))


def _facts(training: Training, study: Study, split: Split, evaluation: Evaluation) -> Facts:
    config = training.config
    return {
        "preset": config.preset,
        "family": config.family,
        "resolution": config.resolution,
        "iterations": config.iterations,
        "training_frames": len(training.data),
        "heldout_frames": len(split.heldout),
        "metrics": evaluation.metrics,
        "nearest_metrics": evaluation.nearest,
        "parameter_count": sum(parameter.numel() for parameter in training.average.parameters()),
        "width": split.track.width,
        "height": split.track.height,
        "warnings": _warnings(split, study, evaluation),
    }


def _warnings(split: Split, study: Study, evaluation: Evaluation) -> list[str]:
    found = []
    if len(split.training) < 100:
        found.append(
            f"only {len(split.training)} frames to train on; some hundreds of varied poses make a better performer"
        )
    if split.window.scale > 1.0:
        side = split.window.width / split.window.scale
        found.append(f"the person fills only {side:.0f} px of the {study.plate.shape[0]} px high picture")
    generated, nearest = (row.get("person_ssim", 0.0) for row in (evaluation.metrics, evaluation.nearest))
    if generated < nearest:
        found.append(f"on frames held out it is worse (SSIM {generated:.2f}) than copying old ones ({nearest:.2f})")
    return found


def _sample_sheet(training: Training, columns: int = 4) -> NDArray[np.uint8]:
    """Truth above result for frames evenly over the training set."""
    data = training.data
    chosen = torch.linspace(0, len(data) - 1, columns, device=data.frames.device).round().long()
    batch = whole_batch(data, chosen)
    with torch.inference_mode():
        output = training.average(batch.keypoints, *training.grid)
        result = torch.lerp(batch.plate, output[:, :3], output[:, 3:])
    rows = [torch.cat(list(picture), dim=2) for picture in (batch.frame, result)]
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0).mul(255.0).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = sheet.cpu().numpy()
    return pixels


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 92))
    return bytes(data)
