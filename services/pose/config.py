"""Settings of pose: UNDERSTUDY_* for what every service has, UNDERSTUDY_POSE_* for its own."""

from __future__ import annotations

import os

from pydantic import Field

from services.common.settings import ServiceSettings


class PoseSettings(ServiceSettings):
    """Which network, and how many frames at a time."""

    pose_backend: str = "mediapipe"
    """Backend of calls that name none."""
    pose_threads: int = Field(default=0, ge=0, le=256)
    """Frames looked at at the same time by one call; 0 takes one a core."""

    @property
    def threads(self) -> int:
        return self.pose_threads or len(os.sched_getaffinity(0))
