"""The training set: every frame decoded once, seen through its window, kept as bytes on the device that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.camera import compose, warp
from services.common.errors import ClipTooShort
from services.common.nn.window import WindowPath, fit_window
from services.common.tracks import CameraPath, PoseTrack

Picture = NDArray[np.uint8]
# A frame of the clip: its index, the picture as filmed (H, W, 3) and the subject's alpha (H, W).
StudyFrame = tuple[int, Picture, Picture]

MINIMUM_FRAMES = 24
"""Valid frames that a clip needs before a performer can be trained and judged on it."""
HELDOUT_PART = 0.2
# The stored picture is larger than the window by this part on each side, room for augmentation to move in.
_MARGIN = 0.125


@dataclass(frozen=True)
class TrainingSet:
    """Frames in window coordinates.

    frames: uint8 (F, 5, C, C), red, green, blue, matte, and 255 where the camera filmed; C = resolution + 2 margin,
    the window in the middle. keypoints: float32 (F, 133, 3), window px. plate: uint8 (3, h, w), the whole plate at
    the window's scale; plate px = window px + plate_offsets (F, 2).
    """

    frames: Tensor
    keypoints: Tensor
    plate: Tensor
    plate_offsets: Tensor
    resolution: int
    margin: int

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def canvas(self, chosen: Tensor) -> Tensor:
        """Stored pictures, float (N, 5, C, C) in 0..1."""
        return self.frames[chosen].float() / 255.0

    def to(self, device: torch.device) -> TrainingSet:
        tensors = (self.frames, self.keypoints, self.plate, self.plate_offsets)
        frames, keypoints, plate, offsets = (tensor.to(device) for tensor in tensors)
        return TrainingSet(frames, keypoints, plate, offsets, self.resolution, self.margin)


@dataclass(frozen=True)
class Split:
    """Which frames of the clip are trained on and which are held out, and where the window is in each.

    training, heldout: int64 frame indices, ascending; held out is the end of the clip, which training never sees:
    frames in between would be near copies of training frames and prove nothing.
    """

    training: NDArray[np.int64]
    heldout: NDArray[np.int64]
    window: WindowPath
    track: PoseTrack

    @property
    def heldout_range(self) -> tuple[int, int]:
        """First and last + 1 of the frames held out; (0, 0) when there is none."""
        return (int(self.heldout[0]), int(self.heldout[-1]) + 1) if len(self.heldout) else (0, 0)


def split_clip(
    track: PoseTrack,
    camera: CameraPath,
    resolution: int,
    most_frames: int,
    minimum: int = MINIMUM_FRAMES,
    *,
    least_judged: int = 0,
    still: bool = False,
) -> Split:
    """Divides the clip's valid frames.

    Args:
        track: the target's poses as filmed.
        camera: its camera path.
        resolution: the window's side, px.
        most_frames: when there are more to train on, so many are taken, evenly over time.
        minimum: valid frames that are needed.
        least_judged: with fewer valid frames than this, none is held out.
        still: whether the window stands still instead of following the person.

    Raises ClipTooShort when fewer than `minimum` frames are valid.
    """
    valid = np.flatnonzero(track.valid)
    if len(valid) < minimum:
        raise ClipTooShort(
            f"training needs at least {minimum} frames in which the person is seen, this clip has "
            f"{len(valid)} of {len(track)}; use a longer clip of the target, or the preset draft, which needs one",
            needed=minimum, valid=len(valid), frames=len(track),
        )  # fmt: skip
    registered = track.transformed(camera.matrices)
    count = len(valid) - max(1, round(HELDOUT_PART * len(valid))) if len(valid) >= least_judged else len(valid)
    training, heldout = valid[:count], valid[count:]
    if len(training) > most_frames:
        training = training[np.linspace(0, len(training) - 1, most_frames).round().astype(int)]
    return Split(training, heldout, fit_window(registered, resolution, still=still), registered)


def load_training_set(
    split: Split, camera: CameraPath, plate: Picture, frames: Iterable[StudyFrame], seen: Callable[[], None]
) -> TrainingSet:
    """Reads the training frames, each resampled once from the frame as filmed.

    Args:
        split: what to take.
        camera: the clip's camera path.
        plate: uint8 (H, W, 3), registered camera.
        frames: those of `split.training`, in ascending order; others among them are left out.
        seen: called after each frame; may raise to stop.

    Raises ClipTooShort when too many of the frames are missing.
    """
    window = split.window
    margin = int(np.ceil(window.width * _MARGIN))
    canvas = window.resized(window.width + 2 * margin, window.height + 2 * margin)
    wanted = {int(frame) for frame in split.training}
    stored = torch.empty((len(wanted), 5, canvas.height, canvas.width), dtype=torch.uint8)
    found: list[int] = []
    for index, picture, matte in frames:
        if index in wanted:
            matrix = compose(canvas.matrices[index], camera.matrices[index])
            stored[len(found)] = torch.from_numpy(_planes(picture, matte, matrix, (canvas.width, canvas.height)))
            found.append(index)
        seen()
    if len(found) < MINIMUM_FRAMES // 2:
        raise ClipTooShort(
            f"only {len(found)} of the {len(wanted)} frames to train on can be read",
            read=len(found),
            frames=len(wanted),
        )
    offsets = -window.matrices[found, :, 2]
    keypoints = window.keypoints(split.track)[found]
    return TrainingSet(
        stored[: len(found)],
        torch.from_numpy(np.ascontiguousarray(keypoints)),
        torch.from_numpy(scaled_plate(plate, window.scale).transpose(2, 0, 1).copy()),
        torch.from_numpy(offsets.astype(np.float32)),
        window.width,
        margin,
    )


def scaled_plate(plate: Picture, scale: float) -> Picture:
    """The plate at the window's scale, pixel (0, 0) on pixel (0, 0)."""
    height, width = (max(1, int(np.ceil(side * scale))) for side in plate.shape[:2])
    return warp(plate, np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]), (width, height))


def _planes(picture: Picture, matte: Picture, matrix: NDArray[np.float64], size: tuple[int, int]) -> Picture:
    colour = warp(picture, matrix, size)
    alpha = warp(matte, matrix, size, border="zero")
    filmed = warp(np.full(matte.shape, 255, dtype=np.uint8), matrix, size, border="zero")
    return np.concatenate([colour.transpose(2, 0, 1), alpha[None], filmed[None]])
