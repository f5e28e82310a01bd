"""Checkpoints: everything that a training run is, in two files of the artifact's scratch area.

`checkpoint-<step>.safetensors` holds the tensors; `checkpoint-<step>.json`, written after it, names its SHA-256 and the
configuration. A run cut off between the two, or a file damaged on disk, costs the steps since the checkpoint before.
The random state needs no place here: data order and augmentation are pure functions of seed and iteration.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from services.common.artifacts import Scratch, canonical_json
from services.common.errors import ObjectNotFound

_NAME = re.compile(r"checkpoint-(\d{8})\.json")
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """step: iterations done. tensors: by dotted name. config: what the run was started with."""

    step: int
    tensors: dict[str, Tensor]
    config: Mapping[str, Any]


def save_checkpoint(scratch: Scratch, checkpoint: Checkpoint) -> None:
    """Writes it, then removes all but the newest two. Raises StorageFull and the store's other errors."""
    name = f"checkpoint-{checkpoint.step:08d}"
    tensors = {key: value.detach().cpu().contiguous() for key, value in checkpoint.tensors.items()}
    data = safetensors.torch.save(tensors)
    scratch.put(f"{name}.safetensors", data)
    note = {"step": checkpoint.step, "sha256": hashlib.sha256(data).hexdigest(), "config": dict(checkpoint.config)}
    scratch.put(f"{name}.json", canonical_json(note))
    for step in _steps(scratch)[_KEPT:]:
        scratch.delete(f"checkpoint-{step:08d}.json")
        scratch.delete(f"checkpoint-{step:08d}.safetensors")


def load_checkpoint(scratch: Scratch, config: Mapping[str, Any]) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole and of this configuration, and one line for each that was refused."""
    refused: list[str] = []
    for step in _steps(scratch):
        try:
            return _read(scratch, step, config), refused
        except (ValueError, KeyError, ObjectNotFound, safetensors.SafetensorError) as error:
            refused.append(f"checkpoint of iteration {step} refused: {error}")
    return None, refused


def _read(scratch: Scratch, step: int, config: Mapping[str, Any]) -> Checkpoint:
    note = json.loads(scratch.get(f"checkpoint-{step:08d}.json"))
    data = scratch.get(f"checkpoint-{step:08d}.safetensors")
    if hashlib.sha256(data).hexdigest() != note["sha256"]:
        raise ValueError("its bytes differ from their checksum")
    if canonical_json(note["config"]) != canonical_json(dict(config)):
        raise ValueError("it is of another configuration")
    return Checkpoint(int(note["step"]), safetensors.torch.load(data), note["config"])


def _steps(scratch: Scratch) -> list[int]:
    """Steps of the checkpoints there are, newest first."""
    found = (_NAME.fullmatch(name) for name in scratch.list())
    return sorted((int(match.group(1)) for match in found if match), reverse=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: `<parameter index>.<name>`."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(value) for i, entry in state.items() for name, value in entry.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimiser_tensors` gave."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        # The fused step walks weights and moments side by side in memory, so their layouts must agree.
        placed = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = placed
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
