"""The trainer's own logic: from a target's study to a performer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe, Scratch
from services.common.puppet import References, add_detail, put_references
from services.common.stage import Job
from services.common.telemetry import logger
from services.trainer.augment import whole_batch
from services.trainer.checkpoint import load_checkpoint, save_checkpoint
from services.trainer.data import Split, TrainingSet, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.draft import DraftConfig, as_window, draft_windows, make_draft, read_references
from services.trainer.evaluation import Evaluation, Window, evaluate, generate, nearest_window
from services.trainer.export import export_onnx
from services.trainer.heldout import hold_out
from services.trainer.performer import DRAFT, GENERATED, NEAREST, jpeg, performer_facts, write_performer
from services.trainer.presets import RunConfig, TrainingConfig
from services.trainer.study import Study, StudyRefs
from services.trainer.training import Hooks, Losses, Training, train

_log = logger(__name__)

# Raised whenever the same request would now give another performer.
VERSION = 3


@dataclass(frozen=True)
class TrainRequest:
    """What to learn from and how."""

    refs: StudyRefs
    config: RunConfig


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
        study = Study(self._artifacts, request.refs)
        if isinstance(config, DraftConfig):
            return make_draft(config, study, job, writer)
        device = choose_device(self._device_name)
        split = split_clip(study.track, study.camera, config.resolution, config.most_frames)
        data = _read(study, split, config, job).to(device.torch)
        training = Training(config, data, device)
        scratch = self._artifacts.scratch(writer.recipe.key)
        self._resume(training, scratch)
        job.goes_on(training.step, "iterations")
        self._run(training, scratch, job)
        job.progress(config.iterations, config.iterations, "iterations", "measuring it on the frames held out")
        references = read_references(split, study.camera, DraftConfig.references, study.some)
        evaluation = _measure(training, study, split, references, job)
        job.progress(config.iterations, config.iterations, "iterations", "exporting it")
        put_references(writer, references)
        _export(training, study, split, evaluation, writer)
        return _facts(training, study, split, evaluation)

    def hold_out(self, performer: ArtifactRef, refs: StudyRefs, job: Job, writer: ArtifactWriter) -> Facts:
        """See `services.trainer.heldout`."""
        rate = self._artifacts.open(refs.clip).facts["frame_rate"]
        return hold_out(self._artifacts.open(performer), Study(self._artifacts, refs), rate, job, writer)

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
            scratch.put(name, jpeg(_sample_sheet(training)))
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


def judged(training: Training, split: Split, references: References) -> dict[str, Window]:
    """What is measured on the held-out frames: the performer, the nearest training frame, and a draft."""
    data, device, side = training.data, training.device, training.data.resolution
    keypoints = split.window.keypoints(split.track)
    drafted = draft_windows(references, split)

    def generated(frame: int) -> NDArray[np.float32]:
        window = generate(training.average, device, keypoints[frame][None], side)[0]
        return as_window(add_detail(window, drafted(frame), side), side)

    return {
        GENERATED: generated,
        NEAREST: lambda frame: nearest_window(data, keypoints[frame]),
        DRAFT: lambda frame: as_window(drafted(frame), side),
    }


def _measure(training: Training, study: Study, split: Split, references: References, job: Job) -> Evaluation:
    frames = study.frames(*split.heldout_range)
    return evaluate(judged(training, split, references), split, study.camera, study.plate, frames, job.check)


def _export(training: Training, study: Study, split: Split, evaluation: Evaluation, writer: ArtifactWriter) -> None:
    config = training.config
    weights = {name: value.cpu().contiguous() for name, value in sorted(training.average.state_dict().items())}
    writer.put_bytes("generator.safetensors", safetensors.torch.save(weights))
    writer.put_bytes("generator.onnx", export_onnx(training.average, config.resolution))
    write_performer(writer, study, split, evaluation, {
        "family": config.family,
        "preset": config.preset,
        "resolution": config.resolution,
        "multiple": config.generator.multiple,
        "generator": config.generator.to_json(),
    })  # fmt: skip


def _facts(training: Training, study: Study, split: Split, evaluation: Evaluation) -> Facts:
    config = training.config
    return performer_facts(study, split, evaluation, {
        "preset": config.preset,
        "family": config.family,
        "resolution": config.resolution,
        "iterations": config.iterations,
        "training_frames": len(training.data),
        "parameter_count": sum(parameter.numel() for parameter in training.average.parameters()),
    })  # fmt: skip


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
