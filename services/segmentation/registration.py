"""The camera of every frame of a clip, registered to one reference frame.

Frames are taken outward from the middle of the clip, each measured directly against the reference with its
neighbour's camera as first guess, so that errors do not add up. Where too little of the reference is in sight, frames
are measured against a key frame on the way, and cameras are chained. Memory does not grow with the clip's length but
for the path itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common import camera
from services.common.tracks import CameraPath
from services.segmentation import flow, path
from services.segmentation.people import Keypoints, crowd

# Below this share of a reference's corners in sight, a nearer reference is preferred.
_ENOUGH_IN_SIGHT = 0.3
_TOO_FAR = 0.35  # of the frame's diagonal
_TOO_FEW_REGISTERED = 0.8
_HARDLY_REGISTERED = 0.15


class GrayFrames(Protocol):
    """Frames of a clip for measurement."""

    @property
    def width(self) -> int:
        """Of the full frame, px."""
        ...

    @property
    def height(self) -> int: ...

    def __len__(self) -> int: ...

    def gray(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, grey, reduced for speed: uint8 (h, w), all frames alike."""
        ...


@dataclass(frozen=True)
class Registration:
    """A clip's camera and what is to be said about it. Lengths in pixels of the full frame."""

    path: CameraPath
    median_displacement_px: float
    max_displacement_px: float
    residual_px: float
    registered_fraction: float
    smoothing_frames: int  # window that the path was smoothed over; 1: as measured
    warnings: list[str]


def register_camera(
    frames: GrayFrames,
    people: Callable[[int], list[Keypoints]],
    step: Callable[[int], None] = lambda _done: None,
) -> Registration:
    """Register every frame of a clip.

    Args:
        frames: the clip.
        people: the poses of everybody in a frame, float32 (133, 3) each in pixels of the full frame; they are left
            out of the measurement.
        step: called after each frame with the number done; may raise to stop.

    A camera that cannot be measured (nothing but a plain wall) or never moved is the identity, exactly.
    """
    tracker = _Tracker(frames, people)
    root = tracker.find_root()
    if root is None:
        return _unmeasurable(frames)
    measured = path.MeasuredPath.empty(len(frames), root.gray.shape[1], root.gray.shape[0])
    measured.put_root(root.index)
    done = 1
    for indices in (range(root.index + 1, len(frames)), range(root.index - 1, -1, -1)):
        for index, fit, to_root in tracker.follow(root, indices):
            measured.put(index, fit, to_root)
            done += 1
            step(done)
    return _finish(frames, measured)


class _Tracker:
    def __init__(self, frames: GrayFrames, people: Callable[[int], list[Keypoints]]) -> None:
        self._frames = frames
        self._people = people

    def find_root(self) -> flow.Reference | None:
        """The middle frame, or another when its background shows too little."""
        count = len(self._frames)
        for share in (4, 3, 5, 2, 6, 1, 7, 0):
            index = min(count - 1, count * share // 8)
            reference = self._reference(index, *self._load(index), camera.identity())
            if reference.measurable:
                return reference
        return None

    def follow(self, root: flow.Reference, indices: range) -> Iterator[tuple[int, flow.Fit | None, camera.Matrix]]:
        """Frame by frame away from the root: (index, the fit or None, the frame's map to the root)."""
        key, guess = root, camera.identity()
        last: tuple[int, NDArray[np.uint8], NDArray[np.uint8]] | None = None
        for index in indices:
            gray, hidden = self._load(index)
            fit, used = self._against([root, key] if key is not root else [root], gray, hidden, guess)
            if fit is None and last is not None:
                key = self._reference(*last, guess)
                fit, used = self._against([key], gray, hidden, guess)
            if fit is None:
                yield index, None, guess
                continue
            guess = camera.compose(used.to_root, fit.matrix)
            if used is not root and fit.tracked_share < _ENOUGH_IN_SIGHT:
                key = self._reference(index, gray, hidden, guess)
            last = (index, gray, hidden)
            yield index, fit, guess

    def _against(
        self, references: list[flow.Reference], gray: NDArray[np.uint8], hidden: NDArray[np.uint8], guess: camera.Matrix
    ) -> tuple[flow.Fit | None, flow.Reference]:
        for reference in references:
            relative = camera.compose(camera.invert(reference.to_root), guess)
            if reference.measurable and _in_sight(reference, relative) >= _ENOUGH_IN_SIGHT:
                fit = flow.measure(reference, gray, hidden, relative)
                if fit is not None:
                    return fit, reference
        return None, references[0]

    def _load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        gray = self._frames.gray(index)
        height, width = gray.shape
        return gray, crowd(self._people(index), height, width, scale=width / self._frames.width)

    @staticmethod
    def _reference(
        index: int, gray: NDArray[np.uint8], hidden: NDArray[np.uint8], to_root: camera.Matrix
    ) -> flow.Reference:
        return flow.make_reference(index, gray, hidden, to_root)


def _in_sight(reference: flow.Reference, matrix: camera.Matrix) -> float:
    """Share of a reference's corners that a frame with this map to it shows."""
    height, width = reference.gray.shape
    points = camera.transform_points(camera.invert(matrix), reference.points)
    inside = (points >= 0).all(axis=1) & (points < [width, height]).all(axis=1)
    return float(inside.mean())


def _unmeasurable(frames: GrayFrames) -> Registration:
    still = CameraPath.identity(len(frames), frames.width, frames.height)
    warning = "the background has too little texture to tell whether the camera moves: it is taken as still"
    return _summary(still, np.zeros(len(frames), bool), 1, [warning])


def _finish(frames: GrayFrames, measured: path.MeasuredPath) -> Registration:
    if len(frames) > 1 and measured.measured.mean() < _HARDLY_REGISTERED:
        return _unmeasurable(frames)
    size, full = (measured.width, measured.height), (frames.width, frames.height)
    matrices, good, window = path.cleaned(measured)
    if path.is_still(matrices, measured):
        matrices, reference = np.tile(camera.identity(), (len(frames), 1, 1)), len(frames) // 2
    else:
        matrices, reference = path.centred(matrices, good, measured.width, measured.height)
    to_full = frames.width / measured.width
    camera_path = CameraPath(
        camera.at_scale(matrices, size, full),
        (measured.residual_px * to_full).astype(np.float32),
        reference,
        frames.width,
        frames.height,
    )
    return _summary(camera_path, good, window, [])


def _summary(camera_path: CameraPath, good: NDArray[np.bool_], window: int, warnings: list[str]) -> Registration:
    width, height = camera_path.width, camera_path.height
    displacement = camera.corner_displacement(camera_path.matrices, width, height)
    fraction = float(good.mean())
    farthest = float(displacement.max())
    if farthest > _TOO_FAR * float(np.hypot(width, height)):
        warnings = [*warnings, f"the camera moves too much: {farthest:.0f} px of a {width} x {height} px frame; "
                    "use a part of the video where it stays on one scene"]  # fmt: skip
    if not warnings and fraction < _TOO_FEW_REGISTERED:
        warnings = [f"the camera could be measured in {int(good.sum())} of {len(good)} frames only"]
    residual = float(np.median(camera_path.residual_px[good])) if good.any() else 0.0
    return Registration(camera_path, float(np.median(displacement)), farthest, residual, fraction, window, warnings)
