"""The training loop. `Training` is the state, `train` the loop over it; both know nothing of services or stores."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.common.nn.generator import Generator, window_grid
from services.common.nn.pix2pixhd import Pix2PixHD
from services.trainer.augment import Batch, Draw
from services.trainer.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from services.trainer.data import TrainingSet
from services.trainer.device import Device, out_of_memory
from services.trainer.distributed import ALONE, World
from services.trainer.perceptual import Perceptual
from services.trainer.presets import Config

Floats = NDArray[np.float32]
Losses = dict[str, float]


class Training(ABC):
    """A run's whole state: networks, optimisers and the number of iterations done.

    A family's subclass says what its networks are and what they learn from a batch; here is what all have in common.
    The batch is computed in `parts`, one after the other, whose gradients are summed: their number is a matter of
    memory and changes nothing but rounding, because every loss is a mean over samples. For the same reason several
    processes that take a share of the batch each compute what one would compute alone.

    Args:
        config: the run.
        data: what it learns from, already on the device.
        device: where and in which precision it computes.
        world: the processes that train together.
    """

    gradient_limit = math.inf
    """Gradients of a larger norm than this are shortened to it."""

    def __init__(self, config: Config, data: TrainingSet, device: Device, world: World = ALONE) -> None:
        if config.batch % world.size:
            raise ValueError(f"a batch of {config.batch} cannot be shared evenly by {world.size} processes")
        torch.manual_seed(config.seed)
        self.config, self.data, self.device, self.world, self.step = config, data, device, world, 0
        self.parts = 1
        self.perceptual: Perceptual | None = None
        """A further loss, on the device, where there are weights for it; they are part of the recipe."""
        self.networks: dict[str, nn.Module] = {}
        """By name, all that a checkpoint holds."""
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        """By name, the same; `iterate` sets their rate and steps them."""
        self.grid = window_grid(data.resolution, data.resolution, device.torch)

    @property
    @abstractmethod
    def performer(self) -> Generator | Pix2PixHD:
        """The network that is measured and exported."""

    @abstractmethod
    def begin_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begins with a performer's weights instead of random ones. Raises RuntimeError when they do not fit."""

    @abstractmethod
    def windows(self, keypoints: Tensor) -> Tensor:
        """What the performer shows for poses (N, 133, 3) that have none before them: float (N, 4, S, S) in 0..1."""

    @abstractmethod
    def learning_rate(self, name: str) -> float:
        """The rate of the iteration to come, of the optimiser of that name."""

    @abstractmethod
    def draw(self, draw: Draw) -> Sequence[Batch]:
        """What the iteration sees: one batch, or several of equal length whose samples belong together."""

    @abstractmethod
    def backward(self, batches: Sequence[Batch], share: float) -> dict[str, Tensor]:
        """Adds the gradients of the losses, times `share`, to all networks. Returns the losses by name."""

    @abstractmethod
    def player(self, keypoints: Floats) -> Callable[[int], Floats]:
        """The window of a frame as it is rendered: float32 (S, S, 4) in 0..1; keypoints (T, 133, 3) in window px."""

    def iterate(self) -> Losses:
        """One iteration. Returns its losses by name. Raises FloatingPointError when one is not finite."""
        values = self._gradients()
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(f"losses are not finite after {self.step} iterations: {values}")
        for name, optimiser in self.optimisers.items():
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            self.world.average([parameter.grad for parameter in parameters if parameter.grad is not None])
            torch.nn.utils.clip_grad_norm_(parameters, self.gradient_limit)
            for group in optimiser.param_groups:
                group["lr"] = self.learning_rate(name)
            optimiser.step()
        self.step += 1
        return values

    def _gradients(self) -> Losses:
        """Gradients of this process's share of the batch; on too little memory in twice as many parts."""
        config, world = self.config, self.world
        share = config.batch // world.size
        first = world.rank * share
        drawn = self.draw(Draw(config.batch, config.seed, self.step, first, first + share))
        while True:
            try:
                return world.mean(self._summed(drawn, share))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or self.parts >= share:
                    raise
            # Outside the handler: the exception holds the frames, and with them the tensors, that ran out.
            self.parts = min(share, 2 * self.parts)
            self.device.free()

    def _summed(self, drawn: Sequence[Batch], count: int) -> Losses:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        sums: Losses = {}
        size = -(-count // self.parts)
        for first in range(0, count, size):
            last = min(count, first + size)
            share = (last - first) / count
            losses = self.backward([batch.rows(first, last) for batch in drawn], share)
            values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
            for name, value in zip(losses, values, strict=True):
                sums[name] = sums.get(name, 0.0) + share * value
        return sums

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here."""
        tensors = {f"{name}/{key}": value for name, network in self.networks.items()
                   for key, value in network.state_dict().items()}  # fmt: skip
        for name, optimiser in self.optimisers.items():
            tensors |= {f"optimiser.{name}/{key}": value for key, value in optimiser_tensors(optimiser).items()}
        return Checkpoint(self.step, tensors, self.config.to_json())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to where `checkpoint` was made. Raises RuntimeError or KeyError when it does not fit."""
        states: dict[str, dict[str, Tensor]] = {}
        for key, value in checkpoint.tensors.items():
            part, name = key.split("/", 1)
            states.setdefault(part, {})[name] = value
        for name, network in self.networks.items():
            network.load_state_dict(states[name])
        for name, optimiser in self.optimisers.items():
            restore_optimiser(optimiser, states.get(f"optimiser.{name}", {}))
        self.step = checkpoint.step


@dataclass(frozen=True)
class Hooks:
    """What happens beside the training. All are called between iterations.

    check: may raise to stop the run, which is saved first. save: keeps a checkpoint. report: progress; the estimate
    is of the seconds left. sample: mean losses since the last sample, a picture is due.
    reached: asked every `ask_every` iterations, by their number and not by the clock, so that a run can be repeated;
    ends the run, in all processes, when true.
    """

    check: Callable[[], None]
    save: Callable[[Checkpoint], None]
    report: Callable[[int, float], None]
    sample: Callable[[int, Losses], None]
    save_every_seconds: float = 25.0
    report_every_seconds: float = 0.5
    samples: int = 8
    reached: Callable[[], bool] = lambda: False
    ask_every: int = 100


def train(training: Training, hooks: Hooks) -> None:
    """Runs `training` to its last iteration, or until it is good enough.

    Raises whatever `hooks.check` raises, after saving a checkpoint.
    """
    total, first = training.config.iterations, training.step
    sample_every = max(1, total // hooks.samples)
    started = saved = reported = time.monotonic()
    sums: Losses = {}
    counted = 0
    while training.step < total:
        try:
            hooks.check()
        except Exception:  # whatever stops the run, the work is kept
            hooks.save(training.checkpoint())
            raise
        # Before the iteration: a run that goes on from a checkpoint made here asks what the first run asked.
        if training.step > 0 and training.step % hooks.ask_every == 0 and training.world.stops(here=hooks.reached()):
            break
        losses = training.iterate()
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
        counted += 1
        now = time.monotonic()
        if now - reported >= hooks.report_every_seconds or training.step == total:
            rate = (training.step - first) / max(1e-9, now - started)
            hooks.report(training.step, (total - training.step) / rate)
            reported = now
        if training.step % sample_every == 0:
            hooks.sample(training.step, {name: value / counted for name, value in sums.items()})
            sums, counted = {}, 0
        if now - saved >= hooks.save_every_seconds and training.step < total:
            hooks.save(training.checkpoint())
            saved = time.monotonic()
    hooks.save(training.checkpoint())
