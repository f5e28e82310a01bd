"""The board of one transfer: what each stage has done, how long it took, and what remains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.resources import StageProgress, StageState

SOURCE, TARGET, RESULT, BACKGROUND = "source", "target", "result", "background"

STUDY_STAGES: Final = ("download", "pose", "camera")
TARGET_STAGES: Final = (*STUDY_STAGES, "segmentation", "plate", "training")
JUDGED_FRAMES: Final = 60
RESULT_STAGES: Final = ("normalization", "rendering", "encoding")

# Seconds a unit of one 720p transfer on two CPU cores; replaced by what this installation measures itself. The longer
# presets were never timed on such a machine: theirs are guesses from their size.
DEFAULT_SECONDS_PER_UNIT: Final = {
    "download": 0.02,
    "pose": 0.06,
    "camera": 0.015,
    "segmentation": 0.045,
    "plate": 0.012,
    "training:draft": 0.1,
    "training:preview": 0.29,
    "training:standard": 2.5,
    "training:hd": 12.0,
    "evaluation": 0.4,
    "training:pix2pixhd-preview": 0.6,
    "normalization": 0.005,
    "rendering": 0.05,
    "encoding": 0.02,
}
DEFAULT_ITERATIONS: Final = {
    "draft": 72,
    "preview": 800,
    "standard": 6_000,
    "hd": 20_000,
    "pix2pixhd-preview": 400,
}
_PRIOR_SHARE = 0.1  # the past counts as much as this share of the whole stage


@dataclass
class _Entry:
    progress: StageProgress
    began: float | None = None
    before: float = 0.0  # seconds of earlier runs of this stage

    def elapsed(self, now: float) -> float:
        return self.before + (now - self.began if self.began is not None else 0.0)


@dataclass
class Board:
    """Not thread-safe: one event loop writes it, which also takes the snapshots.

    training: the kind of training, a preset's name or "pix2pixhd-preview" and the like.
    rates: seconds a unit by rate key ("pose", "training:preview"), of this installation's past.
    """

    training: str
    rates: dict[str, float]
    entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)
    now_at: str = ""
    changed: int = 0
    measured: dict[str, float] = field(default_factory=dict)

    @classmethod
    def plan(
        cls,
        training: str,
        rates: dict[str, float],
        *,
        with_training: bool,
        further: Sequence[tuple[str, str]] = (),
    ) -> Board:
        """The stages of a transfer, in the order in which users see them; `further` ones after the source's."""
        stages = [*((SOURCE, stage) for stage in STUDY_STAGES), *further]
        if with_training:
            stages += [(TARGET, stage) for stage in TARGET_STAGES]
            stages += [(TARGET, "evaluation")] if training != "draft" else []  # a draft is there to be quick
        stages += [(RESULT, stage) for stage in RESULT_STAGES]
        board = cls(training, DEFAULT_SECONDS_PER_UNIT | rates)
        for role, stage in stages:
            unit = "iterations" if stage == "training" else "frames"
            board.entries[role, stage] = _Entry(StageProgress(stage=stage, role=role, unit=unit))
        if with_training:
            iterations = int(rates.get(f"iterations:{training}", DEFAULT_ITERATIONS.get(training, 0)))
            board.entries[TARGET, "training"].progress.total = iterations
            if training != "draft":
                board.entries[TARGET, "evaluation"].progress.total = JUDGED_FRAMES
        return board

    def restore(self, stages: list[StageProgress]) -> None:
        """Takes over what an earlier process finished: those steps are recorded and do not run again."""
        for saved in stages:
            entry = self.entries.get((saved.role, saved.stage))
            if entry is not None and saved.state is StageState.SUCCEEDED:
                entry.progress, entry.before = saved.model_copy(), saved.elapsed_seconds

    def begin(self, role: str, stage: str, total: int = 0) -> None:
        entry = self.entries[role, stage]
        if entry.began is None:
            entry.began = time.monotonic()
        entry.progress.state = StageState.RUNNING
        entry.progress.total = total or entry.progress.total
        self.now_at = stage
        self.changed += 1

    def expect(self, role: str, stages: tuple[str, ...], frames: int) -> None:
        """Tells stages to come how many frames they will see."""
        for stage in stages:
            entry = self.entries.get((role, stage))
            if entry is not None and entry.progress.unit == "frames":
                entry.progress.total = frames

    def update(self, role: str, stage: str, done: int, total: int = 0) -> None:
        progress = self.entries[role, stage].progress
        progress.total = total or progress.total
        progress.done = min(done, progress.total) if progress.total else done
        if progress.state is StageState.RUNNING:
            self.now_at = stage
        self.changed += 1

    def add(self, role: str, stage: str, done: int) -> None:
        self.update(role, stage, self.entries[role, stage].progress.done + done)

    def finish(self, role: str, stage: str) -> None:
        """Marks the stage done. Work of more than a second is remembered as this installation's rate."""
        entry = self.entries[role, stage]
        seconds = entry.elapsed(time.monotonic())
        entry.before, entry.began = seconds, None
        entry.progress.state = StageState.SUCCEEDED
        entry.progress.done = entry.progress.total = max(entry.progress.done, entry.progress.total)
        if seconds > 1.0 and entry.progress.done:
            self.measured[self._rate_key(stage)] = seconds / entry.progress.done
        self.changed += 1

    def snapshot(self) -> list[StageProgress]:
        now = time.monotonic()
        return [
            entry.progress.model_copy(update={"elapsed_seconds": round(entry.elapsed(now), 1)})
            for entry in self.entries.values()
        ]

    def remaining_seconds(self) -> float:
        """Source and target are studied side by side, then comes the result. -1 while a length is unknown."""
        now = time.monotonic()
        sums = {SOURCE: 0.0, TARGET: 0.0, RESULT: 0.0, BACKGROUND: 0.0}
        for (role, stage), entry in self.entries.items():
            if entry.progress.state is StageState.SUCCEEDED:
                continue
            if not entry.progress.total:
                return -1.0
            sums[role] += self._stage_remaining(stage, entry, now)
        return round(max(sums[SOURCE] + sums[BACKGROUND], sums[TARGET]) + sums[RESULT], 1)

    def _stage_remaining(self, stage: str, entry: _Entry, now: float) -> float:
        prior = self.rates.get(self._rate_key(stage), 0.05)
        total, done = entry.progress.total, entry.progress.done
        weight = _PRIOR_SHARE * total
        seconds_per_unit = (entry.elapsed(now) * (done > 0) + weight * prior) / (done + weight)
        return max(total - done, 0) * seconds_per_unit

    def _rate_key(self, stage: str) -> str:
        return f"training:{self.training}" if stage == "training" else stage
