"""What a training run is made of, and the presets. Everything here is part of the performer's key."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from services.common.errors import InvalidOption
from services.common.nn.generator import GeneratorConfig
from services.common.nn.pix2pixhd import Pix2PixHDConfig
from services.trainer.augment import Augmentation
from services.trainer.draft import DraftConfig
from services.trainer.losses import LossWeights

FAMILIES = ("composite", "pix2pixhd", "draft")


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
    quality_target: float = 0.0
    """SSIM inside the person, on frames held out, at which training ends early; 0 trains all iterations."""

    def to_json(self) -> dict[str, Any]:
        return _without_target({**asdict(self), "generator": self.generator.to_json()})


@dataclass(frozen=True)
class AnchorConfig:
    """One run of the `pix2pixhd` family; rates, weights and order as in its papers, sizes and numbers free."""

    preset: str
    resolution: int
    """Side of the generator's window, px: a window that stands still, because the background is generated too."""
    iterations: int
    batch: int
    """Pairs of frames an iteration; 1 in the paper."""
    most_frames: int
    generator: Pix2PixHDConfig
    judge_width: int = 64
    """Channels of the discriminators' first layer."""
    judge_scales: int = 3
    family: str = "pix2pixhd"
    seed: int = 0
    learning_rate: float = 2e-4
    feature_matching: float = 10.0
    """Weight of feature matching; that of the adversarial loss is 1."""
    perceptual: float = 10.0
    """Weight of the perceptual loss (perceptual.py), where there are weights for it."""
    coarse_part: float = 0.5
    """Part of the iterations in which the global generator is trained alone."""
    enhancer_part: float = 0.1
    """Part after it in which the local enhancer is trained and the global generator stays as it is."""
    quality_target: float = 0.0
    """See TrainingConfig."""

    @property
    def coarse_iterations(self) -> int:
        return round(self.coarse_part * self.iterations)

    @property
    def enhancer_iterations(self) -> int:
        return round(self.enhancer_part * self.iterations)

    def to_json(self) -> dict[str, Any]:
        return _without_target(asdict(self))


def _without_target(value: dict[str, Any]) -> dict[str, Any]:
    """A run that has no target is the run that it was before there were targets, with the same key."""
    return value if value["quality_target"] else {name: value[name] for name in value if name != "quality_target"}


Config = TrainingConfig | AnchorConfig

_PRESETS = {
    "preview": TrainingConfig("preview", 256, 800, 2, 1200, GeneratorConfig()),
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
_ANCHORS = {
    # A quarter of the paper's weights: what a CPU can train for some minutes.
    "preview": AnchorConfig("preview", 256, 400, 1, 1200, Pix2PixHDConfig(32, global_blocks=6), judge_width=32),
    "standard": AnchorConfig("standard", 512, 20000, 1, 800, Pix2PixHDConfig(sigma_px=6.0, fine_sigma_px=2.5)),
    "hd": AnchorConfig("hd", 1024, 40000, 1, 400, Pix2PixHDConfig(sigma_px=12.0, fine_sigma_px=4.0)),
}

RunConfig = Config | DraftConfig

# What `standard` is meant for. Should less of it be free, batches are computed in parts: slower, not otherwise.
_STANDARD_BYTES = 8 << 30


def usual_preset(gpu_bytes: int) -> str:
    """The preset for a request that names none: what a machine with a GPU of so much memory (0: none) does in minutes.

    By what the machine has, not by what is free just now: the same request shall find its performer again.
    """
    return "standard" if gpu_bytes >= _STANDARD_BYTES else "preview"


def run_config(preset: str, family: str, iterations: int, seed: int, quality_target: float = 0.0) -> RunConfig:
    """The run that a request asks for; empty names and 0 iterations take the defaults. Raises InvalidOption."""
    if "draft" in {preset, family}:
        if {preset, family} - {"", "draft"}:
            raise InvalidOption(f"preset {preset!r} and family {family!r} do not go together", preset=preset)
        if quality_target:
            raise InvalidOption("a draft is not trained: leave the quality to be reached out", preset=preset)
        return DraftConfig()
    return training_config(preset, family, iterations, seed, quality_target)


def training_config(preset: str, family: str, iterations: int, seed: int, quality_target: float = 0.0) -> Config:
    """The same for the families that are trained."""
    preset, family = preset or "preview", family or "composite"
    if preset not in _PRESETS:
        raise InvalidOption(f"no preset {preset!r}; there are {', '.join(PRESETS)}", preset=preset)
    if family not in FAMILIES:
        raise InvalidOption(f"no family {family!r}; there are {', '.join(FAMILIES)}", family=family)
    if not 0.0 <= quality_target < 1.0:
        raise InvalidOption(
            f"a quality to be reached is an SSIM between 0 and 1, got {quality_target:g}", quality_target=quality_target
        )
    if iterations < 0:
        raise InvalidOption(f"iterations must not be negative, got {iterations}", iterations=iterations)
    if family == "pix2pixhd":
        anchor = _ANCHORS[preset]
        return replace(anchor, iterations=iterations or anchor.iterations, seed=seed, quality_target=quality_target)
    config = _PRESETS[preset]
    return replace(config, iterations=iterations or config.iterations, seed=seed, quality_target=quality_target)
