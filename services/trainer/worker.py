"""The trainer's own logic: from a target's study to a performer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.artifacts import Artifact, ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe, Scratch
from services.common.errors import InvalidOption
from services.common.puppet import NO_SHARE, put_references
from services.common.stage import Job
from services.common.telemetry import logger
from services.trainer.augment import whole_batch
from services.trainer.checkpoint import load_checkpoint, save_checkpoint
from services.trainer.config import TrainerSettings
from services.trainer.data import Split, TrainingSet, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.distributed import ALONE, World
from services.trainer.draft import DraftConfig, make_draft, read_references
from services.trainer.evaluation import Evaluation, evaluate
from services.trainer.export import export_onnx
from services.trainer.families import begin_training, paints_everything
from services.trainer.heldout import hold_out
from services.trainer.perceptual import Perceptual
from services.trainer.performer import find_shadow, jpeg, performer_facts, write_performer
from services.trainer.presets import Config, RunConfig, usual_preset
from services.trainer.quality import Choice, Gauge
from services.trainer.study import Study, StudyRefs
from services.trainer.training import Hooks, Losses, Training, train

_log = logger(__name__)

# Raised whenever the same request would now give another performer.
VERSION = 12


@dataclass(frozen=True)
class TrainRequest:
    """What to learn from and how."""

    refs: StudyRefs
    config: RunConfig
    initial: ArtifactRef | None = None
    """A performer whose weights the training begins with: how one that exists learns from another clip."""


def performer_recipe(request: TrainRequest, model: str = "") -> Recipe:
    """Everything that decides the performer. model: of the perceptual loss, where there is one."""
    refs = request.refs
    inputs: dict[str, ArtifactRef | Sequence[ArtifactRef]] = {
        "clip": refs.clip, "track": refs.track, "camera": refs.camera,
        "matte_shards": list(refs.matte_shards), "plate": refs.plate,
    }  # fmt: skip
    if request.initial is not None:
        inputs["initial"] = request.initial
    trained = not isinstance(request.config, DraftConfig)
    return Recipe("performer", "training", VERSION, inputs, request.config.to_json(), model if trained else "")


class Trainer:
    """Trains performers on one device. `train` is one call's work and keeps nothing for the next.

    world: the processes that train together; each makes the same call, and the first one writes. perceptual: weights of
    the perceptual loss; None does without. Raises WeightsMissing, DataCorrupted for weights that are none.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        device_name: str = "auto",
        save_every_seconds: float = 25.0,
        world: World = ALONE,
        perceptual: Path | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._perceptual = Perceptual(perceptual) if perceptual is not None else None
        self._world = world
        self._device_name = device_name
        self._save_every_seconds = save_every_seconds

    @classmethod
    def from_settings(cls, artifacts: Artifacts, settings: TrainerSettings, world: World = ALONE) -> Trainer:
        """As the settings have it."""
        return cls(
            artifacts, settings.trainer_device, settings.trainer_checkpoint_seconds, world,
            settings.trainer_perceptual_weights,
        )  # fmt: skip

    def load(self) -> None:
        """Raises RuntimeError when the device that the settings name is not there."""
        choose_device(self._device_name)

    def recipe(self, request: TrainRequest) -> Recipe:
        """Everything that decides the performer that `train` would make."""
        return performer_recipe(request, self._perceptual.digest if self._perceptual is not None else "")

    def usual_preset(self) -> str:
        """The preset of requests that name none. Raises RuntimeError when the device is not there."""
        return usual_preset(choose_device(self._device_name).gpu_bytes)

    def train(self, request: TrainRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Trains, measures, exports; goes on from the newest checkpoint where there is one.

        Returns the facts of the performer (the Performer message; none in processes that only help). Raises
        ClipTooShort when too few frames show the person, FloatingPointError when the training diverges, and whatever
        stops `job`, after a checkpoint.
        """
        config = request.config
        study = Study(self._artifacts, request.refs)
        if isinstance(config, DraftConfig):
            if request.initial is not None:
                raise InvalidOption("a draft is not trained, so it cannot begin with a performer's weights")
            return make_draft(config, study, job, writer)
        device = choose_device(self._device_name)
        still = paints_everything(config)
        split = split_clip(study.track, study.camera, config.resolution, config.most_frames, still=still)
        data = _read(study, split, config, job).to(device.torch)
        training = begin_training(config, data, device, self._world, self._perceptual)
        if request.initial is not None:
            training.begin_from(_initial_weights(self._artifacts.open(request.initial), training))
        scratch = self._artifacts.scratch(writer.recipe.key)
        self._resume(training, scratch)
        job.goes_on(training.step, "iterations")
        if self._world.rank:
            train(training, Hooks(job.check, _nothing, _nothing, _nothing))
            return {}
        references = read_references(split, study.camera, DraftConfig.references, study.some)
        gauge = Gauge(training, study, split, references)
        self._run(training, scratch, job, gauge)
        job.progress(training.step, training.step, "iterations", "measuring it on the frames held out")
        choice = gauge.choose(job.check)
        if choice.share != NO_SHARE:
            _log.info("part of the picture is the draft's", person_ssim=choice.person_ssim, **asdict(choice.share))
        performers, frames = gauge.judged(choice.share), study.frames(*split.heldout_range)
        evaluation = evaluate(performers, split, study.camera, study.plate, frames, job.check)
        job.progress(training.step, training.step, "iterations", "exporting it")
        if not paints_everything(config):
            put_references(writer, references)
        _export(training, study, split, evaluation, writer, choice)
        return _facts(training, study, split, evaluation, choice)

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

    def _run(self, training: Training, scratch: Scratch, job: Job, gauge: Gauge) -> None:
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
                reached=gauge.reached,
            ),
        )


def _nothing(*_: object) -> None:
    """What a process that only helps does beside the training."""


def _initial_weights(performer: Artifact, training: Training) -> dict[str, Tensor]:
    """Raises InvalidOption when the performer's network is another than the one to be trained."""
    config, found = training.config, performer.read_json("config.json")
    wanted = {"family": config.family, "generator": json.loads(json.dumps(config.generator.to_json()))}
    if any(found.get(name) != value for name, value in wanted.items()):
        raise InvalidOption(
            f"performer {performer.ref.key[:12]} ({found.get('family')}, {found.get('preset')}) has another network "
            f"than {config.family}, {config.preset}; train on with the family and preset that it was made with",
            performer=performer.ref.key,
        )
    arrays = performer.read_arrays("generator.safetensors")
    wanted_shapes = {name: tuple(value.shape) for name, value in training.performer.state_dict().items()}
    if {name: value.shape for name, value in arrays.items()} != wanted_shapes:
        raise InvalidOption(
            f"performer {performer.ref.key[:12]} was made by another version of Understudy, whose skeletons are drawn "
            "otherwise; it performs as before, but to go on from it train it anew with this version",
            performer=performer.ref.key,
        )
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _read(study: Study, split: Split, config: Config, job: Job) -> TrainingSet:
    first, last = int(split.training[0]), int(split.training[-1]) + 1
    read = 0

    def seen() -> None:
        nonlocal read
        job.check()
        read += 1
        job.progress(0, config.iterations, "iterations", f"reading frames, {read} of {last - first}")

    return load_training_set(split, study.camera, study.plate, study.frames(first, last), seen)


def _export(
    training: Training, study: Study, split: Split, evaluation: Evaluation, writer: ArtifactWriter, choice: Choice
) -> None:
    config = training.config
    generator = training.performer
    weights = {name: value.cpu().contiguous() for name, value in sorted(generator.state_dict().items())}
    writer.put_bytes("generator.safetensors", safetensors.torch.save(weights))
    writer.put_bytes("generator.onnx", export_onnx(generator, config.resolution))
    write_performer(writer, study, split, evaluation, {
        "family": config.family,
        "preset": config.preset,
        "resolution": config.resolution,
        "multiple": config.generator.multiple,
        "generator": config.generator.to_json(),
        "draft_share": choice.share.colours,
        "draft_outline": choice.share.outline,
        "centre": split.window.centre.tolist() if paints_everything(config) else None,
    }, None if paints_everything(config) else find_shadow(study, split))  # fmt: skip


def _facts(training: Training, study: Study, split: Split, evaluation: Evaluation, choice: Choice) -> Facts:
    config = training.config
    return performer_facts(study, split, evaluation, {
        "preset": config.preset,
        "family": config.family,
        "resolution": config.resolution,
        "iterations": training.step,
        "training_frames": len(training.data),
        "parameter_count": sum(parameter.numel() for parameter in training.performer.parameters()),
    }, _warnings_of_choice(training, choice))  # fmt: skip


def _warnings_of_choice(training: Training, choice: Choice) -> list[str]:
    config, found = training.config, choice.person_ssim
    warnings = []
    if choice.share.outline == 1.0:
        warnings.append(
            f"what was learnt in {training.step} iterations is no better than a draft, which is shown instead; "
            "give it more time"
        )
    if config.quality_target and training.step == config.iterations and found < config.quality_target:
        warnings.append(
            f"the quality asked for, {config.quality_target:.2f}, was not reached: SSIM {found:.2f} after "
            f"{training.step} iterations; give it more time, or more video of the target"
        )
    return warnings


def _sample_sheet(training: Training, columns: int = 4) -> NDArray[np.uint8]:
    """Truth above result for frames evenly over the training set."""
    data = training.data
    chosen = torch.linspace(0, len(data) - 1, columns, device=data.frames.device).round().long()
    batch = whole_batch(data, chosen)
    output = training.windows(batch.keypoints)
    result = torch.lerp(batch.plate, output[:, :3], output[:, 3:])
    rows = [torch.cat(list(picture), dim=2) for picture in (batch.frame, result)]
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0).mul(255.0).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = sheet.cpu().numpy()
    return pixels
