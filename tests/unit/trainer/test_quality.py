"""Training that stops when it is good enough, at the same iteration each time, or says that it never was; and how much
of a draft is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.common.artifacts import Artifacts, Facts
from services.common.errors import Cancelled, InvalidOption
from services.common.nn.layer import decontaminated
from services.common.puppet import NO_SHARE, DraftShare
from services.common.stage import Emitted, Job, Progress
from services.common.store import MemoryObjectStore
from services.trainer.augment import whole_batch
from services.trainer.composite import CompositeTraining
from services.trainer.data import load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.draft import read_references
from services.trainer.pix2pixhd import AnchorTraining
from services.trainer.presets import TrainingConfig, run_config, training_config, usual_preset
from services.trainer.quality import Gauge
from services.trainer.study import Study, StudyRefs
from services.trainer.worker import Trainer, TrainRequest, performer_recipe
from tests.support.studies import store_study
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import tiny_anchor, tiny_config


def stored(folder: Path) -> tuple[Artifacts, StudyRefs]:
    artifacts = Artifacts(MemoryObjectStore(), folder)
    return artifacts, store_study(artifacts, make_study(36))


def wanted(iterations: int, target: float) -> TrainingConfig:
    return replace(tiny_config(iterations), quality_target=target)


def trained(artifacts: Artifacts, refs: StudyRefs, config: TrainingConfig, job: Job | None = None) -> tuple[Facts, str]:
    """The facts, and the checksum of the weights."""
    request = TrainRequest(refs, config)
    writer = artifacts.write(performer_recipe(request))
    facts = Trainer(artifacts, "cpu", save_every_seconds=0.0).train(request, job or Job(), writer)
    return facts, writer.objects["generator.safetensors"]["sha256"]


def test_it_stops_once_it_is_good_enough_also_when_it_was_cut_off(tmp_path: Path) -> None:
    config = wanted(150, 0.05)
    whole, weights = trained(*stored(tmp_path), config)
    assert whole["iterations"] == 100
    assert whole["metrics"]["person_ssim"] >= 0.05

    def stop_before_the_question(event: Progress | Emitted) -> None:
        if isinstance(event, Progress) and event.done >= 90:
            job.stop(Cancelled("stopped by the test"))

    job = Job(stop_before_the_question)
    artifacts, refs = stored(tmp_path)
    with pytest.raises(Cancelled):
        trained(artifacts, refs, config, job)
    assert trained(artifacts, refs, config) == (whole, weights)


def test_a_target_out_of_reach_is_trained_for_to_the_end_and_told(tmp_path: Path) -> None:
    facts, _ = trained(*stored(tmp_path), wanted(3, 0.99))
    assert facts["iterations"] == 3
    assert any("0.99, was not reached: SSIM 0." in warning for warning in facts["warnings"])


@dataclass(frozen=True)
class Fault:
    """What is wrong with a network's pictures. tint: of their colours. opacity: of what should be opaque."""

    tint: float = 0.0
    opacity: float = 1.0


class Knowing(CompositeTraining):
    """Paints every frame, seen or not, as it was filmed, but for a fault."""

    truth: NDArray[np.float32]
    fault: Fault

    def player(self, keypoints: NDArray[np.float32]) -> Callable[[int], NDArray[np.float32]]:
        tint = self.fault.tint * np.array([1.0, -1.0, 1.0, 0.0], np.float32)
        opacity = np.array([1.0, 1.0, 1.0, self.fault.opacity], np.float32)
        return lambda frame: np.clip(self.truth[frame] + tint, 0.0, 1.0) * opacity


@pytest.mark.parametrize(("fault", "share"), [
    (Fault(), NO_SHARE),
    (Fault(tint=0.1), DraftShare(1.0)),
    (Fault(tint=0.5, opacity=0.1), DraftShare(1.0, 1.0)),
])  # fmt: skip
def test_the_draft_shows_where_the_network_is_wrong(tmp_path: Path, fault: Fault, share: DraftShare) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    study, config = Study(artifacts, store_study(artifacts, make_study(100))), tiny_config(1)
    split = split_clip(study.track, study.camera, config.resolution, 100)
    data = load_training_set(split, study.camera, study.plate, study.frames(0, 100), lambda: None)
    all_seen = replace(split, training=np.arange(100))
    whole = load_training_set(all_seen, study.camera, study.plate, study.frames(0, 100), lambda: None)
    batch = whole_batch(whole, torch.arange(100))
    training = Knowing(config, data, choose_device("cpu"))
    filmed = torch.cat([batch.frame, batch.matte], 1).permute(0, 2, 3, 1).numpy()
    training.truth = np.stack([decontaminated(window) for window in filmed])  # a network's colours are the person's
    training.fault = fault
    gauge = Gauge(training, study, split, read_references(split, study.camera, 72, study.some))
    assert gauge.choose().share == share
    few = replace(split, heldout=split.heldout[:3])
    undecided = Gauge(training, study, few, read_references(few, study.camera, 72, study.some)).choose()
    assert undecided.share == NO_SHARE


class Unasked(AnchorTraining):
    """Of which no picture may be asked."""

    def player(self, keypoints: NDArray[np.float32]) -> Callable[[int], NDArray[np.float32]]:
        def play(frame: int) -> NDArray[np.float32]:
            raise AssertionError(f"frame {frame} was asked for")

        return play


def test_where_nothing_is_to_choose_nothing_is_measured(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    study, config = Study(artifacts, store_study(artifacts, make_study(36))), tiny_anchor(1)
    split = split_clip(study.track, study.camera, config.resolution, 100, still=True)
    data = load_training_set(split, study.camera, study.plate, study.frames(0, 36), lambda: None)
    gauge = Gauge(
        Unasked(config, data, choose_device("cpu")), study, split, read_references(split, study.camera, 4, study.some)
    )
    assert gauge.choose().share == NO_SHARE
    assert not gauge.reached()


def test_a_performer_says_how_much_of_the_draft_it_shows(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    request = TrainRequest(store_study(artifacts, make_study(100)), tiny_config(40))
    writer = artifacts.write(performer_recipe(request))
    facts = Trainer(artifacts, "cpu").train(request, Job(), writer)
    performer = artifacts.commit(writer, facts)
    # So soon the network knows where the figure is, and not yet its colours.
    assert json.loads(performer.read_bytes("config.json"))["draft_share"] == 1.0


def test_what_has_learnt_nothing_shows_the_draft_and_says_so(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    request = TrainRequest(store_study(artifacts, make_study(100)), tiny_config(1))
    writer = artifacts.write(performer_recipe(request))
    performer = artifacts.commit(writer, Trainer(artifacts, "cpu").train(request, Job(), writer))
    assert json.loads(performer.read_bytes("config.json"))["draft_outline"] == 1.0
    assert performer.facts["metrics"] == performer.facts["draft_metrics"]
    assert any("no better than a draft" in warning for warning in performer.facts["warnings"])


def test_the_usual_preset_is_what_the_machine_does_in_minutes() -> None:
    assert [usual_preset(gib << 30) for gib in (0, 4, 8, 80)] == ["preview", "preview", "standard", "standard"]


def test_a_target_is_part_of_the_run_and_no_target_is_not() -> None:
    plain, aimed = (training_config("preview", "composite", 5, 0, target).to_json() for target in (0.0, 0.5))
    assert "quality_target" not in plain
    assert aimed == {**plain, "quality_target": 0.5}
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidOption, match="between 0 and 1"):
            training_config("preview", "", 0, 0, wrong)
    with pytest.raises(InvalidOption, match="not trained"):
        run_config("draft", "", 0, 0, 0.5)
