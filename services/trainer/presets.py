"""What a training run is made of, and the presets. Everything here is part of the performer's key."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from services.common.errors import InvalidOption
from services.common.nn.generator import GeneratorConfig
from services.trainer.augment import Augmentation
from services.trainer.draft import DraftConfig
from services.trainer.losses import LossWeights

FAMILIES = ("composite", "draft")


@dataclass(frozen=True)
class TrainingConfig:
    """One run. It counts iterations from a seed and never looks at the clock, so that it can be repeated."""

    preset: str
    resolution: int
    """Side of the generator's window, px."""
    iterations: int
    batch: int
    """Samples an iteration."""
    most_frames: int
    """Frames trained on at most, evenly taken over the clip: what bounds the memory for long clips."""
    generator: GeneratorConfig
    family: str = "composite"
    seed: int = 0
    learning_rate: float = 2e-3
    warmup: int = 20
    """Iterations over which the learning rate rises; after them it falls along a cosine to a twentieth."""
    weight_decay: float = 1e-2
    ema_decay: float = 0.985
    """Decay a step of the average of the weights; the average is what is exported."""
    losses: LossWeights = field(default_factory=LossWeights)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["generator"] = self.generator.to_json()
        return value


_PRESETS = {
    "preview": TrainingConfig("preview", 256, 500, 2, 1200, GeneratorConfig()),
    # Lines as wide as the body parts they stand for: twice the resolution, twice the width.
    "standard": TrainingConfig(
        "standard", 512, 6000, 8, 800,
        GeneratorConfig((64, 96, 160, 256, 256, 256), blocks=1, sigma_px=6.0, fine_sigma_px=2.5),
        learning_rate=1e-3, ema_decay=0.998,
    ),
    "hd": TrainingConfig(
        "hd", 1024, 20000, 8, 400,
        GeneratorConfig((32, 64, 96, 160, 256, 256, 256), blocks=2, sigma_px=12.0, fine_sigma_px=4.0),
        learning_rate=1e-3, ema_decay=0.999,
    ),
}  # fmt: skip
PRESETS = ("draft", *_PRESETS)

RunConfig = TrainingConfig | DraftConfig


def run_config(preset: str, family: str, iterations: int, seed: int) -> RunConfig:
    """The run that a request asks for; empty names and 0 iterations take the defaults. Raises InvalidOption."""
    if "draft" in {preset, family}:
        if {preset, family} - {"", "draft"}:
            raise InvalidOption(f"preset {preset!r} and family {family!r} do not go together", preset=preset)
        return DraftConfig()
    return training_config(preset, family, iterations, seed)


def training_config(preset: str, family: str, iterations: int, seed: int) -> TrainingConfig:
    """The same for the families that are trained."""
    preset, family = preset or "preview", family or "composite"
    if preset not in _PRESETS:
        raise InvalidOption(f"no preset {preset!r}; there are {', '.join(PRESETS)}", preset=preset)
    if family not in FAMILIES:
        raise InvalidOption(f"no family {family!r}; there are {', '.join(FAMILIES)}", family=family)
    if iterations < 0:
        raise InvalidOption(f"iterations must not be negative, got {iterations}", iterations=iterations)
    config = _PRESETS[preset]
    return replace(config, family=family, iterations=iterations or config.iterations, seed=seed)
