"""Settings of segmentation: UNDERSTUDY_* for what every service has, UNDERSTUDY_SEGMENTATION_* for its own."""

from __future__ import annotations

import os

from pydantic import Field

from services.common.settings import ServiceSettings


class SegmentationSettings(ServiceSettings):
    """Which network, and how many frames at a time."""

    segmentation_backend: str = "mediapipe"
    """Backend of calls that name none."""
    segmentation_threads: int = Field(default=0, ge=0, le=256)
    """Frames segmented at the same time by one call; 0 takes one a core."""

    @property
    def threads(self) -> int:
        if self.segmentation_threads:
            return self.segmentation_threads
        # What the process may use, which a container narrows; macOS cannot tell.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
