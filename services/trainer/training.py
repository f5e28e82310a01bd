"""The training loop. `Training` is the state, `train` the loop over it; both know nothing of services or stores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from services.common.nn.generator import Generator, window_grid
from services.trainer.augment import Batch, draw_batch
from services.trainer.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from services.trainer.data import TrainingSet
from services.trainer.device import Device
from services.trainer.losses import generator_losses
from services.trainer.presets import TrainingConfig

Losses = dict[str, float]


class Training:
    """A run's whole state: networks, optimiser, averaged weights and the number of iterations done.

    Args:
        config: the run.
        data: what it learns from, already on the device.
        device: where and in which precision it computes.
    """

    def __init__(self, config: TrainingConfig, data: TrainingSet, device: Device) -> None:
        torch.manual_seed(config.seed)
        self.config, self.data, self.device, self.step = config, data, device, 0
        self.generator = device.place(Generator(config.generator))
        self.average = device.place(Generator(config.generator)).requires_grad_(requires_grad=False)
        self.average.load_state_dict(self.generator.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.generator.parameters(), lr=config.learning_rate, betas=(0.9, 0.99),
            weight_decay=config.weight_decay, fused=True,
        )  # fmt: skip
        self.grid = window_grid(data.resolution, data.resolution, device.torch)

    def iterate(self) -> Losses:
        """One iteration. Returns its losses by name. Raises FloatingPointError when one is not finite."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        batch = draw_batch(self.data, config.augmentation, config.batch, config.seed, self.step)
        losses, _ = generator_losses(self.generate(batch), batch, config.losses)
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(f"losses are not finite after {self.step} iterations: {values}")
        self.optimiser.zero_grad(set_to_none=True)
        total = sum(losses.values(), torch.zeros((), device=self.device.torch))
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        self.optimiser.step()
        self._update_average()
        self.step += 1
        return values

    def generate(self, batch: Batch) -> Tensor:
        """Colour and alpha (N, 4, S, S) of the batch's poses."""
        with torch.no_grad():
            planes = self.generator.draw(batch.keypoints, *self.grid)
        with self.device.autocast():
            logits = self.generator.body(planes)
        return torch.sigmoid(logits.float())

    def learning_rate(self) -> float:
        """The rate of the iteration to come: a short rise, then a cosine down to a twentieth."""
        config = self.config
        rise = min(1.0, (self.step + 1) / max(1, config.warmup))
        fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.step / max(1, config.iterations)))
        return config.learning_rate * rise * (0.05 + 0.95 * fall)

    def _update_average(self) -> None:
        # A young average follows faster: the first weights are noise that it must forget.
        decay = min(self.config.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), weight=1.0 - decay)

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here."""
        parts = {
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": optimiser_tensors(self.optimiser),
        }
        tensors = {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}
        return Checkpoint(self.step, tensors, self.config.to_json())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to where `checkpoint` was made. Raises RuntimeError or KeyError when it does not fit."""
        states: dict[str, dict[str, Tensor]] = {"generator": {}, "average": {}, "optimiser": {}}
        for key, value in checkpoint.tensors.items():
            part, name = key.split("/", 1)
            states[part][name] = value
        self.generator.load_state_dict(states["generator"])
        self.average.load_state_dict(states["average"])
        restore_optimiser(self.optimiser, states["optimiser"])
        self.step = checkpoint.step


@dataclass(frozen=True)
class Hooks:
    """What happens beside the training. All are called between iterations.

    check: may raise to stop the run, which is saved first. save: keeps a checkpoint. report: progress; the estimate
    is of the seconds left. sample: mean losses since the last sample, a picture is due.
    """

    check: Callable[[], None]
    save: Callable[[Checkpoint], None]
    report: Callable[[int, float], None]
    sample: Callable[[int, Losses], None]
    save_every_seconds: float = 25.0
    report_every_seconds: float = 0.5
    samples: int = 8


def train(training: Training, hooks: Hooks) -> None:
    """Runs `training` to its last iteration. Raises whatever `hooks.check` raises, after saving a checkpoint."""
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
