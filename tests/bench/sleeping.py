"""The pose service with a network that sleeps as long as a GPU would compute: `python -m tests.bench.sleeping`.

All else is the service: it reads each shard from the store, decodes every frame, answers, commits. What the processor
does is what a worker's processor does beside its GPU, so many of them fit one small machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from services.pose import __main__ as pose_service
from services.pose.backends import BACKENDS, FramePoses, Image

NAME: Final = "sleeping"
SECONDS_VARIABLE: Final = "SECONDS_A_FRAME"


class SleepingBackend:
    """Finds nobody, slowly. A `PoseBackend`."""

    digest = f"{NAME}-1"

    def __init__(self, weights_dir: Path, threads: int) -> None:
        del weights_dir, threads
        self._seconds_a_frame = float(os.environ[SECONDS_VARIABLE])

    def estimate(self, frames: Sequence[Image], on_frame: Callable[[int], None]) -> list[FramePoses]:
        """See PoseBackend."""
        nobody = FramePoses(np.zeros((0, 133, 3), np.float32), np.zeros(0, np.float32))
        began = time.monotonic()
        for number, _ in enumerate(frames, 1):
            # The GPU computes while the next frames are decoded: what matters is when each is due.
            time.sleep(max(0.0, began + number * self._seconds_a_frame - time.monotonic()))
            on_frame(number)
        return [nobody] * len(frames)


if __name__ == "__main__":
    BACKENDS[NAME] = "tests.bench.sleeping:SleepingBackend"
    pose_service.main()
