"""Pose backends by name. Each finds everyone in the frames of a shard; loading one imports its model library."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidOption

Image = NDArray[np.uint8]


class FramePoses(NamedTuple):
    """Everyone in one frame, largest first.

    keypoints: float32 (N, 133, 3): x px, y px, confidence, COCO-WholeBody order. scores: float32 (N,), 0..1.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]


class PoseBackend(Protocol):
    """What a backend is. Its class takes (weights_dir, threads)."""

    digest: str
    """Name and weights digest: part of every key of what it made."""

    def estimate(self, frames: Sequence[Image], on_frame: Callable[[int], None]) -> list[FramePoses]:
        """Everyone in each frame: a pure function of the frames.

        frames: consecutive, uint8 (H, W, 3) RGB; may decode on access, and a frame may be asked for twice. on_frame:
        called from this thread with the number of frames finished; what it raises ends the work.
        """
        ...


DEFAULT = "mediapipe"
BACKENDS: dict[str, str] = {"mediapipe": "services.pose.backends.mediapipe:MediaPipeBackend"}


def load_backend(name: str, weights_dir: Path, threads: int) -> PoseBackend:
    """The backend of that name ("" is the default), its model in memory. Raises InvalidOption, WeightsMissing."""
    try:
        module, attribute = BACKENDS[name or DEFAULT].split(":")
    except KeyError:
        raise InvalidOption(
            f"no pose backend {name!r}; there are: {', '.join(sorted(BACKENDS))}", backend=name
        ) from None
    backend: PoseBackend = getattr(importlib.import_module(module), attribute)(weights_dir, threads)
    return backend
