"""How good a performer is on frames that training never saw, beside what costs no training.

All is measured in the registered camera at a size where the frame's short side is 256 px, whatever the performer's own
resolution, so that numbers compare; "person" is the matte above one half, grown by 7 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from services.common import metrics_image
from services.common.camera import compose, invert, resize, scale_of, warp
from services.common.nn.layer import lay_over
from services.common.tracks import CameraPath
from services.trainer.augment import whole_batch
from services.trainer.data import Picture, Split, StudyFrame, TrainingSet
from services.trainer.judging import (
    MASK_GROWTH_PX,
    SHORT_SIDE_PX,
    Visible,
    closeness,
    finite,
    measured_size,
    visible_difference,
)

Floats = NDArray[np.float32]
Metrics = dict[str, float]
Window = Callable[[int], Floats]

# Consecutive frames measured at most; more would tell little and cost minutes on long clips.
MOST_FRAMES = 120
# Resampled once, a window loses no more than it must; one with more px than this for each px measured would alias.
_FINEST = 1.7
# Body and feet: what tells one pose from another at a glance.
_POSE_POINTS = slice(5, 23)


@dataclass(frozen=True)
class Evaluation:
    """metrics: by performer. sheet: uint8 (H, W, 3), the truth above each performer's result."""

    metrics: dict[str, Metrics]
    sheet: Picture


@dataclass(frozen=True)
class _Truth:
    """One held-out frame at the measuring size."""

    index: int
    picture: Picture
    mask: NDArray[np.bool_]


def evaluate(
    performers: Mapping[str, Window],
    split: Split,
    camera: CameraPath,
    plate: Picture,
    frames: Iterable[StudyFrame],
    seen: Callable[[], None],
    visible: Visible | None = None,
) -> Evaluation:
    """Measures performers on the held-out frames (the first `MOST_FRAMES` of them).

    Args:
        performers: by name, the window of a frame of the clip: float32 (f S, f S, 4), colour and alpha in 0..1, f times
            as large as the window that they were trained in.
        split: which frames are held out, and the window.
        camera: the clip's camera path.
        plate: uint8 (H, W, 3), registered camera.
        frames: at least those held out.
        seen: called after each frame; may raise to stop.
        visible: difference of two films, measured when it is given.
    """
    height, width = plate.shape[:2]
    size = measured_size(width, height)
    small = resize((width, height), size)
    small_plate = warp(plate, small, size)
    truths = _read_truths(split.heldout[:MOST_FRAMES], camera, small, size, frames, seen)
    results: dict[str, list[Picture]] = {name: [] for name in performers}
    for truth in truths:
        matrix = compose(split.window.matrices[truth.index], invert(small))
        for name, window in performers.items():
            results[name].append(_laid(small_plate, window(truth.index), matrix, split.window.width))
        seen()
    metrics = {name: _measure(pictures, truths, visible) for name, pictures in results.items()}
    return Evaluation(metrics, _sheet(truths, list(results.values())))


def as_window(picture: Floats, side: int) -> Floats:
    """A picture (f S, f S, 4) as a window (S, S, 4), each pixel the mean of those that it covers."""
    if picture.shape[0] == side:
        return picture
    layered = np.concatenate([picture[..., :3] * picture[..., 3:], picture[..., 3:]], axis=2)
    small = cv2.resize(layered, (side, side), interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return np.concatenate([colour, small[..., 3:]], axis=2)


def _laid(plate: Picture, window: Floats, matrix: NDArray[np.float64], side: int) -> Picture:
    """The window over the plate. matrix: px of the plate to px of a window of `side`."""
    factor = window.shape[0] // side
    if factor * scale_of(matrix) > _FINEST:
        return lay_over(plate, as_window(window, side), matrix)
    return lay_over(plate, window, compose(resize((side, side), (factor * side, factor * side)), matrix))


def nearest_pose(keypoints: Floats, wanted: Floats) -> int:
    """The row of `keypoints` (F, 133, 3) whose pose is nearest to `wanted` (133, 3), both about their own middle."""
    points, target = keypoints[:, _POSE_POINTS, :2], wanted[_POSE_POINTS, :2]
    weight = keypoints[:, _POSE_POINTS, 2:] * wanted[_POSE_POINTS, 2:] + 1e-6
    difference = points - target
    middle = (difference * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    distance = (np.square(difference - middle) * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    return int(distance.argmin())


def nearest_window(data: TrainingSet, keypoints: Floats) -> Floats:
    """The person of the training frame that is nearest by pose, cut out by its matte: float32 (S, S, 4).

    keypoints: float32 (133, 3), window px.
    """
    row = nearest_pose(data.keypoints.cpu().numpy(), keypoints)
    batch = whole_batch(data, torch.tensor([row], device=data.frames.device))
    window: Floats = torch.cat([batch.frame, batch.matte], 1)[0].permute(1, 2, 0).cpu().numpy()
    return window


def _read_truths(
    wanted: NDArray[np.int64],
    camera: CameraPath,
    small: NDArray[np.float64],
    size: tuple[int, int],
    frames: Iterable[StudyFrame],
    seen: Callable[[], None],
) -> list[_Truth]:
    chosen = {int(index) for index in wanted}
    truths = []
    for index, picture, matte in frames:
        if index in chosen:
            matrix = compose(small, camera.matrices[index])
            mask = metrics_image.grow_mask(warp(matte, matrix, size, border="zero"), MASK_GROWTH_PX)
            if mask.any():
                truths.append(_Truth(index, warp(picture, matrix, size), mask))
            seen()
    return sorted(truths, key=lambda truth: truth.index)


def _measure(results: list[Picture], truths: list[_Truth], visible: Visible | None) -> Metrics:
    """Measures that these frames do not define (flicker of a single one) are left out."""
    if not truths:
        return {}
    true, masks = [truth.picture for truth in truths], [truth.mask for truth in truths]
    seen = visible_difference(results, true, masks, visible) if visible is not None else {}
    return finite(closeness(results, true, masks) | seen)


def _sheet(truths: list[_Truth], results: list[list[Picture]], columns: int = 6) -> Picture:
    """Truth above the results, evenly over the held-out frames, cropped to where the person is in any of them."""
    if not truths:
        return np.zeros((SHORT_SIDE_PX, SHORT_SIDE_PX, 3), dtype=np.uint8)
    chosen = np.unique(np.linspace(0, len(truths) - 1, columns).round().astype(int))
    anywhere = np.logical_or.reduce([truths[i].mask for i in chosen]).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(anywhere)
    crop = (slice(y, y + height), slice(x, x + width))
    rows = [[truth.picture for truth in truths], *results]
    return np.concatenate([np.concatenate([row[i][crop] for i in chosen], axis=1) for row in rows])
