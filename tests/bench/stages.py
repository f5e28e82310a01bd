"""What is measured: stages, and one run over all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STAGES = {
    "ingest": "frames", "pose": "frames", "camera": "frames", "matte": "frames", "plate": "frames",
    "training": "iterations", "performer": "frames", "normalization": "frames", "render": "frames",
    "encode": "frames",
}  # fmt: skip
"""Unit of each stage's work, in the order in which they run."""

ABOUT = {
    "ingest": "services: the upload as well",
    "pose": "everyone in every frame, and the subject followed",
    "training": "the iterations alone",
    "performer": "training set read, held-out frames measured, network exported",
}


@dataclass(frozen=True)
class Work:
    """What every run does: the first `frames` frames of `clip` (0: all), so many training iterations."""

    clip: Path
    frames: int
    iterations: int


@dataclass
class Run:
    """One run. seconds, counts: by stage; counts are of the stage's unit."""

    width: int = 0
    height: int = 0
    frame_count: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    def rate(self, stage: str) -> float:
        """Units a second."""
        return self.counts[stage] / self.seconds[stage]

    def add(self, stage: str, count: int, seconds: float) -> None:
        """Work of several parts adds up; `count` is that of the last part."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.counts[stage] = count

    @contextmanager
    def timed(self, stage: str, count: int = 0) -> Iterator[None]:
        """Adds the time of what is inside; a count of 0 is the clip's number of frames."""
        began = time.perf_counter()
        yield
        self.add(stage, count or self.frame_count, time.perf_counter() - began)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
