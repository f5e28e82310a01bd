"""How good a performer is while it trains, on frames held out: what is measured, and when that is good enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from services.common.puppet import References, add_detail
from services.trainer.data import Split
from services.trainer.draft import draft_windows
from services.trainer.evaluation import Window, evaluate, nearest_window
from services.trainer.families import paints_everything
from services.trainer.performer import DRAFT, GENERATED, NEAREST
from services.trainer.study import Study
from services.trainer.training import Training

# Frames that are looked at each time, evenly over those held out: more would cost more than they tell.
_FRAMES = 24


def judged(training: Training, split: Split, references: References) -> dict[str, Window]:
    """What is measured on the held-out frames: the performer, the nearest training frame, and a draft."""
    data, side = training.data, training.data.resolution
    keypoints = split.window.keypoints(split.track)
    drafted = draft_windows(references, split)

    painted = training.player(keypoints)

    def detailed(frame: int) -> NDArray[np.float32]:
        return add_detail(painted(frame), drafted(frame), side)

    return {
        GENERATED: painted if paints_everything(training.config) else detailed,
        NEAREST: lambda frame: nearest_window(data, keypoints[frame]),
        DRAFT: drafted,
    }


class Gauge:
    """Whether a training has reached its `quality_target`: the SSIM inside the person of what would be delivered now.

    A function of the weights alone, so that a run which is repeated, or goes on, ends where it ended. window: what
    would be delivered, one of `judged`.
    """

    def __init__(self, training: Training, study: Study, split: Split, window: Window) -> None:
        self._training, self._study, self._window = training, study, window
        chosen = np.linspace(0, len(split.heldout) - 1, min(len(split.heldout), _FRAMES)).round().astype(int)
        self._split = replace(split, heldout=split.heldout[chosen])

    def reached(self) -> bool:
        """Measures, unless the run has no target."""
        target = self._training.config.quality_target
        return target > 0.0 and self.measure() >= target

    def measure(self) -> float:
        """SSIM inside the person, -1..1; nan when there is no frame to measure it on."""
        split, study = self._split, self._study
        frames = study.some(split.heldout.tolist())
        found = evaluate({GENERATED: self._window}, split, study.camera, study.plate, frames, lambda: None)
        return found.metrics[GENERATED].get("person_ssim", float("nan"))
