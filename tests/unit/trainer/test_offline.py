"""One performer by two processes that the real torchrun starts, found by the service's own key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.artifacts import Artifacts
from services.common.errors import ArtifactNotFound
from services.common.store import open_store
from services.trainer.offline import studied_target
from services.trainer.presets import run_config
from services.trainer.worker import Trainer, TrainRequest
from tests.support.studies import store_study
from tests.support.vgg import random_vgg, saved_vgg
from tests.unit.trainer.figure import make_study

_REPOSITORY = Path(__file__).resolve().parents[3]


def test_two_processes_make_the_performer_that_the_service_would_be_asked_for(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    artifacts = Artifacts(open_store(url), tmp_path / "cache")
    refs = store_study(artifacts, make_study(30))
    weights = saved_vgg(tmp_path, random_vgg())
    told = {
        "UNDERSTUDY_STORE_URL": url, "UNDERSTUDY_TRAINER_DEVICE": "cpu", "OMP_NUM_THREADS": "1",
        "UNDERSTUDY_TRAINER_PERCEPTUAL_WEIGHTS": str(weights),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
         "services.trainer.offline", refs.plate.key, "--iterations", "2"],
        cwd=_REPOSITORY, env={**os.environ, **told}, check=True, timeout=200,
    )  # fmt: skip
    recipe = Trainer(artifacts, "cpu", perceptual=weights).recipe(TrainRequest(refs, run_config("", "", 2, 0)))
    performer = artifacts.open(recipe.ref)
    assert performer.facts["iterations"] == 2
    assert {"generator.safetensors", "generator.onnx", "config.json"} <= set(performer.names())
    assert artifacts.scratch(recipe.key).list() == []


def test_a_study_is_found_by_its_plate(tmp_path: Path) -> None:
    artifacts = Artifacts(open_store(f"file://{tmp_path}/store"), tmp_path / "cache")
    refs = store_study(artifacts, make_study(30))
    assert studied_target(artifacts, refs.plate.key) == refs
    with pytest.raises(ArtifactNotFound):
        studied_target(artifacts, "0" * 64)
