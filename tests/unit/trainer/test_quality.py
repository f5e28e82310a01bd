"""Training that stops when it is good enough, at the same iteration each time, or says that it never was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.common.artifacts import Artifacts, Facts
from services.common.errors import Cancelled, InvalidOption
from services.common.stage import Emitted, Job, Progress
from services.common.store import MemoryObjectStore
from services.trainer.presets import TrainingConfig, run_config, training_config, usual_preset
from services.trainer.study import StudyRefs
from services.trainer.worker import Trainer, TrainRequest, performer_recipe
from tests.support.studies import store_study
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import tiny_config


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
