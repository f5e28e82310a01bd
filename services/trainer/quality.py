"""How good a performer is while it trains, and what is chosen by that: when to stop, how much of a draft to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.puppet import NO_SHARE, DraftShare, References, add_detail
from services.common.tracks import CameraPath
from services.trainer.data import Picture, Split, StudyFrame
from services.trainer.draft import draft_windows
from services.trainer.evaluation import Window, evaluate, nearest_window
from services.trainer.families import paints_everything
from services.trainer.performer import DRAFT, GENERATED, NEAREST
from services.trainer.training import Training

# Frames that are looked at each time, evenly over those held out: more would cost more than they tell. Fewer than the
# latter are no ground for a choice.
_FRAMES, _LEAST_FRAMES = 24, 4
# How much of the picture may be the draft's (services/trainer/README.md), and by how much the SSIM inside the person
# must be better than with less of it: a network is steadier than a draft.
_SHARES = (NO_SHARE, DraftShare(0.5), DraftShare(1.0), DraftShare(1.0, 0.5), DraftShare(1.0, 1.0))
_LEAST_GAIN = 0.003


class Studied(Protocol):
    """What is needed of a target's study. some: the frames asked for, as far as they can be read."""

    @property
    def camera(self) -> CameraPath: ...
    @property
    def plate(self) -> Picture: ...
    @property
    def some(self) -> Callable[[list[int]], Iterable[StudyFrame]]: ...


@dataclass(frozen=True)
class Choice:
    """share: of the draft. person_ssim: with it, -1..1; nan where it was not measured."""

    share: DraftShare
    person_ssim: float


class Gauge:
    """What a training would deliver now, on some of the frames held out.

    A function of the weights alone, so that a run which is repeated, or goes on, ends where it ended.
    """

    def __init__(self, training: Training, study: Studied, split: Split, references: References) -> None:
        self._training, self._study, self._whole = training, study, split
        self._drafted = draft_windows(references, split)
        count = len(split.heldout)
        several = count >= _LEAST_FRAMES and not paints_everything(training.config)
        self._shares = _SHARES if several else _SHARES[:1]
        chosen = np.linspace(0, count - 1, min(count, _FRAMES)).round().astype(int)
        self._split = replace(split, heldout=split.heldout[chosen])

    def reached(self) -> bool:
        """Whether what it would deliver has the run's `quality_target`; not measured when there is none."""
        target = self._training.config.quality_target
        return target > 0.0 and self.choose().person_ssim >= target

    def choose(self, check: Callable[[], None] = lambda: None) -> Choice:
        """How much of a draft to show, and how good that is. check: called after each frame; may raise to stop."""
        split, study = self._split, self._study
        if len(self._shares) == 1 and not self._training.config.quality_target:
            return Choice(NO_SHARE, float("nan"))
        performers = {str(share): window for share, window in self._performed(self._shares).items()}
        frames = study.some(split.heldout.tolist())
        found = evaluate(performers, split, study.camera, study.plate, frames, check).metrics
        best = Choice(NO_SHARE, found[str(NO_SHARE)].get("person_ssim", float("nan")))
        for share in self._shares[1:]:
            ssim = found[str(share)].get("person_ssim", float("nan"))
            if ssim >= best.person_ssim + _LEAST_GAIN:
                best = Choice(share, ssim)
        return best

    def judged(self, share: DraftShare) -> dict[str, Window]:
        """What is measured on the frames held out: the performer, the nearest training frame, and a draft."""
        data, keypoints = self._training.data, self._whole.window.keypoints(self._whole.track)
        return {
            GENERATED: self._performed([share])[share],
            NEAREST: lambda frame: nearest_window(data, keypoints[frame]),
            DRAFT: self._drafted,
        }

    def _performed(self, shares: Sequence[DraftShare]) -> dict[DraftShare, Window]:
        """By the weights of now."""
        training, side = self._training, self._training.data.resolution
        # One frame after the other, each with all shares: the network and the draft are asked once.
        painted = lru_cache(1)(training.player(self._whole.window.keypoints(self._whole.track)))
        if paints_everything(training.config):
            return dict.fromkeys(shares, painted)

        def detailed(share: DraftShare, frame: int) -> NDArray[np.float32]:
            return add_detail(painted(frame), self._drafted(frame), side, share)

        return {share: partial(detailed, share) for share in shares}
