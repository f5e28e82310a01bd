"""How each family of performers makes the windows of a dance."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import Artifact
from services.common.errors import DataCorrupted
from services.common.nn.window import LEAD, WindowPath
from services.common.puppet import NO_SHARE, DraftShare, Puppet, References, add_detail, enlarged, open_references
from services.common.tracks import PoseTrack
from services.renderer.generator import BATCH, WindowGenerator
from services.renderer.runtimes.base import Runtime

Floats = NDArray[np.float32]


# Frames that a generator which goes on from its last picture goes on for.
_RUN = 64


class Windows(Protocol):
    """The windows of one performance. A window never depends on which others are asked for with it.

    batch: how many are best asked for at once, and the most that may be. factor: how many times as large as the
    performer's window they are, along each side. cuts_out: whether alpha is the person's; else the family paints what
    is behind too.
    """

    batch: int
    factor: int
    cuts_out: bool

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """float32 (N, factor * height, factor * width, 4) in 0..1, colour and alpha, of frames (N,) of the track."""
        ...


class HeldPoses:
    """A dance's poses in px of its window `factor` times as large. Invalid frames, which mean nothing, repeat a valid
    one: they must not sway what is chosen. Made as they are asked for: a long dance would else be held twice."""

    def __init__(self, window: WindowPath, track: PoseTrack, factor: int = 1) -> None:
        self._window, self._track, self._factor = window, track, factor
        seen = np.flatnonzero(track.valid)
        self._held = seen[np.clip(np.searchsorted(seen, np.arange(len(track)), side="right") - 1, 0, None)]

    def __len__(self) -> int:
        return len(self._track)

    def __getitem__(self, frames: NDArray[np.int64], /) -> Floats:
        """float32 (N, 133, 3) of frames (N,)."""
        return enlarged(self._window.poses(self._track, self._held[frames]), self._factor)


class ContinuingWindows:
    """Families whose generator is given its own picture of the frame before, and which paint everything.

    What came before a frame is defined by the frame alone: each run of `run` frames begins anew, some frames early.
    So any frame can be rendered without those before it, whole runs one after the other cost little more, and because
    the network soon forgets how it began, runs join unseen.
    """

    batch, factor, cuts_out = 1, 1, False

    def __init__(
        self, model_path: Path, window: WindowPath, track: PoseTrack, runtime: Runtime, run: int = _RUN
    ) -> None:
        self._generator = WindowGenerator(model_path, window.width, window.height, runtime)
        self._poses = HeldPoses(window, track)
        self._run = run
        self._coming = -1

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """See Windows."""
        return np.stack([self._window(int(frame)) for frame in frames])

    def _window(self, frame: int) -> Floats:
        run = frame - frame % self._run
        first = self._coming
        if not run < self._coming <= frame:
            self._generator.restart()
            first = max(0, run - LEAD)
        for earlier in range(first, frame):
            self._generator(self._poses[np.array([earlier])])
        self._coming = frame + 1
        window: Floats = self._generator(self._poses[np.array([frame])])[0]
        return window


class DraftWindows:
    """The draft: from parts of the target's own frames."""

    batch, cuts_out = BATCH, True

    def __init__(self, references: References, window: WindowPath, track: PoseTrack, threads: int, side: int) -> None:
        self.factor = references.side // side
        poses = HeldPoses(window, track, self.factor)
        self._puppet = Puppet(references, poses, self.factor * window.width, self.factor * window.height)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="puppet")

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """See Windows."""
        return np.stack(list(self._pool.map(self._puppet, frames.tolist())))


class CompositeWindows:
    """The network's picture of a pose, with the fine detail of a draft of it."""

    batch, cuts_out = BATCH, True

    def __init__(
        self,
        model_path: Path,
        references: References,
        window: WindowPath,
        track: PoseTrack,
        threads: int,
        side: int,
        runtime: Runtime,
        share: DraftShare = NO_SHARE,
    ) -> None:
        self._generator = WindowGenerator(model_path, window.width, window.height, runtime)
        self._poses = HeldPoses(window, track)
        self._draft = DraftWindows(references, window, track, threads, side)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="detail")
        self._side, self._share = side, share
        self.factor = self._draft.factor

    def __call__(self, frames: NDArray[np.int64]) -> Floats:
        """See Windows."""
        drafts = self._draft(frames)
        windows = self._generator(self._poses[frames])
        sides, shares = repeat(self._side), repeat(self._share)
        return np.stack(list(self._pool.map(add_detail, windows, drafts, sides, shares)))


def open_windows(
    performer: Artifact,
    config: Mapping[str, Any],
    window: WindowPath,
    track: PoseTrack,
    threads: int,
    runtime: Runtime,
) -> Windows:
    """The windows of a performer with this config.json. Raises DataCorrupted for a family that is not known here.

    threads: of what is computed without a network. runtime: of the network.
    """
    family = config["family"]
    if family == "composite":
        references, side = open_references(performer), config["resolution"]
        share = DraftShare(config.get("draft_share", 0.0), config.get("draft_outline", 0.0))
        if share.outline == 1.0:
            return DraftWindows(references, window, track, threads, side)
        model = performer.local_path("generator.onnx")
        return CompositeWindows(model, references, window, track, threads, side, runtime, share)
    if family == "pix2pixhd":
        return ContinuingWindows(performer.local_path("generator.onnx"), window, track, runtime)
    if family == "draft":
        return DraftWindows(open_references(performer), window, track, threads, config["resolution"])
    raise DataCorrupted(
        f"performer {performer.ref.key[:12]} is of the family {family!r}, which this renderer does not know; "
        "train it again, or run the renderer of the version that trained it"
    )
