"""How each family of performers makes the windows of a dance."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import Artifact
from services.common.errors import DataCorrupted
from services.common.nn.window import WindowPath
from services.common.puppet import Puppet, References
from services.common.tracks import PoseTrack
from services.renderer.generator import BATCH, WindowGenerator

Floats = NDArray[np.float32]


class Windows(Protocol):
    """The windows of one performance. A window never depends on which others are asked for with it.

    batch: how many are best asked for at once, and the most that may be.
    """

    batch: int

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """Windows float32 (N, height, width, 4) in 0..1, colour and alpha, of frames (N,) of the driven track."""
        ...


class NetworkWindows:
    """Families with a generator: from the keypoints by the exported network."""

    batch = BATCH

    def __init__(self, performer: Artifact, window: WindowPath, track: PoseTrack, threads: int) -> None:
        path = performer.local_path("generator.onnx")
        self._generator = WindowGenerator(path, window.width, window.height, threads)
        self._keypoints = window.keypoints(track)

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """See Windows."""
        return self._generator(self._keypoints[frames])


class DraftWindows:
    """The draft: from parts of the target's own frames."""

    batch = 1

    def __init__(self, performer: Artifact, window: WindowPath, track: PoseTrack) -> None:
        references = References.from_arrays(performer.read_arrays("references.safetensors"))
        self._puppet = Puppet(references, _held(window.keypoints(track), track.valid), window.width, window.height)

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """See Windows."""
        return np.stack([self._puppet(int(frame)) for frame in frames])


def open_windows(performer: Artifact, family: str, window: WindowPath, track: PoseTrack, threads: int) -> Windows:
    """Raises DataCorrupted for a family that this renderer does not know."""
    if family == "composite":
        return NetworkWindows(performer, window, track, threads)
    if family == "draft":
        return DraftWindows(performer, window, track)
    raise DataCorrupted(
        f"performer {performer.ref.key[:12]} is of the family {family!r}, which this renderer does not know; "
        "train it again, or run the renderer of the version that trained it"
    )


def _held(keypoints: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Keypoints whose invalid frames, which mean nothing, repeat a valid one: they must not sway the choice."""
    seen = np.flatnonzero(valid)
    held = seen[np.clip(np.searchsorted(seen, np.arange(len(valid)), side="right") - 1, 0, None)]
    return keypoints[held]
