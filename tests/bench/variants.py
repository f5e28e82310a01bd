"""What is compared: the families, and the `composite` with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.common.nn.pix2pixhd import Pix2PixHDConfig
from services.trainer.augment import Augmentation
from services.trainer.presets import AnchorConfig, Config, TrainingConfig, training_config

_STILL = Augmentation(chance=0.0, keypoint_noise=0.0, unknown_chance=0.0, backdrop_chance=0.0)
_CHANGES: dict[str, Callable[[TrainingConfig], TrainingConfig]] = {
    "without_structure": lambda config: replace(config, losses=replace(config.losses, structure=0.0)),
    "without_augmentation": lambda config: replace(config, augmentation=_STILL),
    "without_noise": lambda config: replace(config, augmentation=replace(config.augmentation, keypoint_noise=0.0)),
    "without_unknown": lambda config: replace(config, augmentation=replace(config.augmentation, unknown_chance=0.0)),
    "without_average": lambda config: replace(config, ema_decay=0.0),
}
_AS_PUBLISHED = "pix2pixhd_as_published"
"""The anchor with the widths and the number of blocks of the paper, however long that takes."""


def variants() -> tuple[str, ...]:
    """Names of all that can be compared."""
    return ("composite", "pix2pixhd", _AS_PUBLISHED, *_CHANGES)


def variant(name: str, iterations: int, seed: int) -> Config:
    """The run of that name, preset `preview`. Raises ValueError for a name that there is not."""
    if name in {"composite", "pix2pixhd"}:
        return training_config("preview", name, iterations, seed)
    if name == _AS_PUBLISHED:
        anchor = training_config("preview", "pix2pixhd", iterations, seed)
        assert isinstance(anchor, AnchorConfig)
        return replace(anchor, generator=Pix2PixHDConfig(), judge_width=64)
    if name not in _CHANGES:
        raise ValueError(f"no row {name!r}; there are {', '.join(variants())}")
    config = training_config("preview", "composite", iterations, seed)
    assert isinstance(config, TrainingConfig)
    return _CHANGES[name](config)
