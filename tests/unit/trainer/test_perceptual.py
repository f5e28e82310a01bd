"""The perceptual loss with weights made here: its arithmetic, what it teaches both families, and keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import vgg

from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import DataCorrupted, WeightsMissing
from services.common.store import MemoryObjectStore
from services.trainer.augment import Draw
from services.trainer.data import TrainingSet
from services.trainer.families import begin_training
from services.trainer.losses import grown
from services.trainer.perceptual import Perceptual
from services.trainer.presets import run_config
from services.trainer.study import StudyRefs
from services.trainer.worker import Trainer, TrainRequest
from tests.support.vgg import passing_vgg, random_vgg, saved_vgg
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import EXACT, FAMILIES, families, load, tiny_config

MEAN, DEVIATION = (np.array(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@pytest.fixture
def perceptual(tmp_path: Path) -> Perceptual:
    return Perceptual(saved_vgg(tmp_path, random_vgg()))


def pictures(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    made, true = torch.rand(2, count, 3, 48, 32, generator=generator)
    return made, true


def still_data(iterations: int = 2, family: str = "composite") -> TrainingSet:
    return load(make_study(30), FAMILIES[family](iterations))


def test_the_loss_is_the_papers(tmp_path: Path) -> None:
    made, true = pictures()
    expected = 0.0
    planes = [(each.double().numpy() - MEAN) / DEVIATION for each in (made, true)]
    for depth in range(5):
        if depth:
            planes = [p.reshape(2, 3, p.shape[2] // 2, 2, p.shape[3] // 2, 2).max(axis=(3, 5)) for p in planes]
        expected += float(np.abs(planes[0] - planes[1]).mean()) / (32, 16, 8, 4, 1)[depth]
    perceptual = Perceptual(saved_vgg(tmp_path, passing_vgg(4.0)))
    assert float(perceptual(made, true)) == pytest.approx(expected, rel=1e-4)
    assert float(perceptual(true, true)) == 0.0


def test_the_layers_are_those_of_torchvisions_vgg_19(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = vgg.make_layers(vgg.cfgs["E"])
    perceptual = Perceptual(saved_vgg(tmp_path, {f"features.{n}": value for n, value in layers.state_dict().items()}))
    made, true = pictures(1)
    with torch.inference_mode():
        first, second = (layers_of(layers, (each - torch.tensor(MEAN).float()) / torch.tensor(DEVIATION).float())
                         for each in (made, true))  # fmt: skip
        expected = sum(
            float((first[number] - second[number]).abs().mean()) * weight
            for number, weight in {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}.items()
        )
        assert float(perceptual(made, true)) == pytest.approx(expected, rel=1e-4)


def layers_of(layers: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """What comes out of each of the layers; a copy, since rectifiers of torchvision's work in place."""
    found = []
    for layer in layers:
        x = layer(x.clone())
        found.append(x)
    return found


def test_it_is_a_mean_over_samples_and_its_gradient_leads_to_the_truth(perceptual: Perceptual) -> None:
    made, true = pictures()
    apart = [float(perceptual(made[i : i + 1], true[i : i + 1])) for i in range(2)]
    assert float(perceptual(made, true)) == pytest.approx(sum(apart) / 2, rel=1e-4)
    learnt = made.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(perceptual(learnt, true), learnt)
    assert float(perceptual(made - 0.1 * gradient / gradient.norm(), true)) < float(perceptual(made, true))
    assert not any(value.requires_grad for value in perceptual.parameters())


@families
def test_both_families_learn_from_it(perceptual: Perceptual, family: str) -> None:
    config, data = FAMILIES[family](4), still_data(4, family)
    without, given = (begin_training(config, data, EXACT, perceptual=each) for each in (None, perceptual))
    before = {name: value.clone() for name, value in perceptual.state_dict().items()}
    plain, losses = without.iterate(), given.iterate()
    assert losses.keys() - plain.keys() == {"perceptual"}
    assert losses["perceptual"] > 0.0
    assert {name: losses[name] for name in plain} == plain
    found, other = (next(iter(run.performer.parameters())) for run in (given, without))
    assert not torch.equal(found, other)
    assert all(torch.equal(value, before[name]) for name, value in perceptual.state_dict().items())


def test_what_is_away_from_the_person_does_not_count(perceptual: Perceptual) -> None:
    config, data = tiny_config(2), still_data()
    training = begin_training(config, data, EXACT, perceptual=perceptual)
    (batch,) = training.draw(Draw(config.batch, config.seed, 0, 0, config.batch))
    other = replace(batch, plate=torch.where(grown(batch.matte) > 0.0, batch.plate, 1.0 - batch.plate))
    first, second = (
        {name: float(loss.detach()) for name, loss in training.backward([each], 1.0).items()} for each in (batch, other)
    )
    assert first["perceptual"] == second["perceptual"] > 0.0
    assert first["colour"] < second["colour"]


def test_weights_are_part_of_a_trained_performers_key_and_not_of_a_drafts(tmp_path: Path) -> None:
    def key(preset: str, weights: dict[str, torch.Tensor] | None) -> str:
        path = saved_vgg(tmp_path, weights) if weights is not None else None
        trainer = Trainer(Artifacts(MemoryObjectStore(), tmp_path / "cache"), "cpu", perceptual=path)
        clip, track, camera, plate = (
            ArtifactRef(kind, "0" * 64) for kind in ("clip", "pose_track", "camera_path", "plate")
        )
        refs = StudyRefs(clip, track, camera, [], plate)
        return trainer.recipe(TrainRequest(refs, run_config(preset, "", 0, 0))).key

    assert len({key("preview", each) for each in (None, random_vgg(), passing_vgg(1.0))}) == 3
    assert key("draft", None) == key("draft", random_vgg())


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="leave the setting empty"):
        Perceptual(tmp_path / "none.safetensors")
    sixteen = {name: value for name, value in random_vgg().items() if ".16." not in name}  # as VGG-16's are
    with pytest.raises(DataCorrupted, match=r"features\.16\.weight"):
        Perceptual(saved_vgg(tmp_path, sixteen))
    flat = random_vgg() | {"features.5.weight": torch.zeros(4, 4)}
    with pytest.raises(DataCorrupted, match=r"does not hold VGG-19's weights: features\.5: size mismatch"):
        Perceptual(saved_vgg(tmp_path, flat))
    path = tmp_path / "text.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(DataCorrupted):
        Perceptual(path)
