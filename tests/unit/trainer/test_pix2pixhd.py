"""The anchor's lessons: who learns what from which loss, and in which order the parts are taught."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from services.trainer.augment import Draw
from services.trainer.data import TrainingSet
from services.trainer.pix2pixhd import AnchorTraining
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import EXACT, load, tiny_anchor


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return load(make_study(30), tiny_anchor(10))


def _training(data: TrainingSet) -> AnchorTraining:
    return AnchorTraining(replace(tiny_anchor(10), batch=1), data, EXACT)


def _learnt(network: nn.Module) -> set[str]:
    return {
        name.split(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        (0, {"coarse", "coarse_last"}),
        (5, {"enhancer_first", "enhancer_last"}),
        (6, {"coarse", "enhancer_first", "enhancer_last"}),
    ],
)
def test_first_the_global_generator_then_the_enhancer_then_both(data: TrainingSet, step: int, parts: set[str]) -> None:
    training = _training(data)
    training.step = step
    training.iterate()
    assert _learnt(training.generator) == parts
    scales = [bool(_learnt(scale)) for scale in training.judges.scales]
    assert scales == ([False, True] if step == 0 else [True, True])


def test_what_the_generator_is_told_teaches_the_judges_nothing(data: TrainingSet) -> None:
    def gradients(weight: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        training = AnchorTraining(replace(tiny_anchor(10), batch=1, feature_matching=weight), data, EXACT)
        training.step = 6
        training.backward(training.draw(Draw.whole(1, 7, 6)), 1.0)
        generator, judges = (list(each.parameters()) for each in (training.generator, training.judges))
        return [p.grad for p in generator if p.grad is not None], [p.grad for p in judges if p.grad is not None]

    (generator, judges), (other_generator, other_judges) = gradients(10.0), gradients(1000.0)
    assert judges
    assert all(torch.equal(a, b) for a, b in zip(judges, other_judges, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(generator, other_generator, strict=True) if a.any())
