"""Checkpoints are whole or refused, and the one before takes the place of a bad one."""

from __future__ import annotations

import torch

from services.common.artifacts import Scratch
from services.common.store import MemoryObjectStore
from services.trainer.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)

CONFIG = {"preset": "preview", "iterations": 10}


def _scratch() -> Scratch:
    return Scratch(MemoryObjectStore(), "a" * 64)


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"generator/w": torch.full((3,), float(step))}, CONFIG)


def test_newest_is_loaded_and_two_are_kept() -> None:
    scratch = _scratch()
    for step in (3, 6, 9):
        save_checkpoint(scratch, _checkpoint(step))
    found, refused = load_checkpoint(scratch, CONFIG)
    assert found is not None
    assert found.step == 9
    assert torch.equal(found.tensors["generator/w"], torch.full((3,), 9.0))
    assert not refused
    assert len(scratch.list()) == 4


def test_damaged_one_is_refused_and_the_one_before_is_used() -> None:
    scratch = _scratch()
    for step in (3, 6):
        save_checkpoint(scratch, _checkpoint(step))
    name = "checkpoint-00000006.safetensors"
    scratch.put(name, scratch.get(name)[:-1] + b"\x55")
    found, refused = load_checkpoint(scratch, CONFIG)
    assert found is not None
    assert found.step == 3
    assert len(refused) == 1
    assert "iteration 6" in refused[0]
    assert "checksum" in refused[0]


def test_half_written_ones_are_passed_over() -> None:
    scratch = _scratch()
    save_checkpoint(scratch, _checkpoint(3))
    scratch.put("checkpoint-00000006.safetensors", b"cut off before its note")
    scratch.put("checkpoint-00000009.json", b'{"step": 9')
    found, refused = load_checkpoint(scratch, CONFIG)
    assert found is not None
    assert found.step == 3
    assert len(refused) == 1


def test_other_configuration_is_refused() -> None:
    scratch = _scratch()
    save_checkpoint(scratch, _checkpoint(3))
    found, refused = load_checkpoint(scratch, {**CONFIG, "iterations": 11})
    assert found is None
    assert "another configuration" in refused[0]


def test_nothing_there() -> None:
    assert load_checkpoint(_scratch(), CONFIG) == (None, [])


def test_optimiser_state_survives() -> None:
    def make() -> tuple[torch.nn.Conv2d, torch.optim.AdamW]:
        torch.manual_seed(0)
        module = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        return module, torch.optim.AdamW(module.parameters(), fused=True)

    def step(module: torch.nn.Conv2d, optimiser: torch.optim.AdamW) -> None:
        optimiser.zero_grad()
        module(torch.ones(1, 3, 8, 8)).square().sum().backward()
        optimiser.step()

    (first, one), (second, two) = make(), make()
    step(first, one)
    tensors = {name: value.clone().contiguous() for name, value in optimiser_tensors(one).items()}
    second.load_state_dict(first.state_dict())
    restore_optimiser(two, tensors)
    step(first, one)
    step(second, two)
    assert torch.equal(first.weight, second.weight)
