"""Training of the `composite` family: colour and alpha over the registered plate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from services.common.nn.generator import Generator
from services.trainer.augment import Batch, Draw, draw_batch
from services.trainer.data import TrainingSet
from services.trainer.device import Device
from services.trainer.distributed import ALONE, World
from services.trainer.losses import generator_losses, grown
from services.trainer.presets import TrainingConfig
from services.trainer.training import Floats, Losses, Training


class CompositeTraining(Training):
    """A generator, its optimiser and the exponential average of its weights, which is what performs."""

    config: TrainingConfig
    gradient_limit = 1.0

    def __init__(self, config: TrainingConfig, data: TrainingSet, device: Device, world: World = ALONE) -> None:
        super().__init__(config, data, device, world)
        self.generator = device.place(Generator(config.generator))
        self.average = device.place(Generator(config.generator)).requires_grad_(requires_grad=False)
        self.average.load_state_dict(self.generator.state_dict())
        self.networks = {"generator": self.generator, "average": self.average}
        self.optimisers = {"generator": torch.optim.AdamW(
            self.generator.parameters(), lr=config.learning_rate, betas=(0.9, 0.99),
            weight_decay=config.weight_decay, fused=True,
        )}  # fmt: skip

    @property
    def performer(self) -> Generator:
        return self.average

    def begin_from(self, weights: Mapping[str, Tensor]) -> None:
        self.generator.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def windows(self, keypoints: Tensor) -> Tensor:
        with torch.inference_mode():
            planes = self.average.draw(keypoints, *self.grid)
            with self.device.autocast():
                return self.average.window(planes)

    def player(self, keypoints: Floats) -> Callable[[int], Floats]:
        def play(frame: int) -> Floats:
            pose = torch.from_numpy(keypoints[frame][None]).to(self.device.torch)
            window: Floats = self.windows(pose)[0].permute(1, 2, 0).cpu().numpy()
            return window

        return play

    def learning_rate(self, name: str) -> float:
        """A short rise, then a cosine down to a twentieth."""
        del name  # there is one optimiser
        config = self.config
        rise = min(1.0, (self.step + 1) / max(1, config.warmup))
        fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.step / max(1, config.iterations)))
        return config.learning_rate * rise * (0.05 + 0.95 * fall)

    def draw(self, draw: Draw) -> list[Batch]:
        return [draw_batch(self.data, self.config.augmentation, draw)]

    def backward(self, batches: Sequence[Batch], share: float) -> dict[str, Tensor]:
        (batch,) = batches
        with torch.no_grad():
            planes = self.generator.draw(batch.keypoints, *self.grid)
        with self.device.autocast():
            output = self.generator.window(planes)
        losses, composite = generator_losses(output, batch, self.config.losses)
        if self.perceptual is not None:
            # Away from the person the plate differs from the film as it likes: that is not to be learnt from.
            made = torch.lerp(batch.frame, composite, grown(batch.matte) * batch.seen)
            with self.device.autocast():
                losses["perceptual"] = self.config.losses.perceptual * self.perceptual(made, batch.frame)
        total = torch.stack(list(losses.values())).sum() * share
        total.backward()  # type: ignore[no-untyped-call]
        return losses

    def iterate(self) -> Losses:
        """See Training; then the average follows."""
        losses = super().iterate()
        # A young average follows faster: the first weights are noise that it must forget.
        decay = min(self.config.ema_decay, self.step / (9.0 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), weight=1.0 - decay)
        return losses
