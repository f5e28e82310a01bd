"""Settings of the trainer: UNDERSTUDY_* for what every service has, UNDERSTUDY_TRAINER_* for its own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.common.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    """Where to train."""

    trainer_device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """"auto" takes a GPU where there is one."""
    trainer_checkpoint_seconds: float = Field(default=25.0, gt=0)
    """Training that is cut off loses at most this much."""
    trainer_perceptual_weights: Path | None = None
    """VGG-19's weights, safetensors (see perceptual.py): training has a perceptual loss; without them it has none."""
    trainer_lpips_weights: Path | None = None
    """LPIPS weights, safetensors (see lpips.py); without them that measure is left out."""
