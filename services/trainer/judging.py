"""How good performances of the held-out frames are: pictures beside the truth, poses found again beside those asked.

Pictures are measured at a size where the frame's short side is 256 px, so that numbers compare; "person" is the matte
above one half, grown by 7 px. All are means over the frames:

    person_ssim, person_psnr_db, ssim, psnr_db     closeness to the truth, inside the person and everywhere
    sharpness                                      fine detail inside the person, 1 is the truth's
    flicker                                        how wrongly the person changes from frame to frame, 0..1
    flicker_outside                                mean change from frame to frame outside the person, 0..1
    pose_distance                                  of body joints found again from those asked for, in body heights
    missed_poses                                   share of frames in which nobody was found again
    person_cvvdp_jod                               how visibly the film of the person differs; 10 is not at all
    person_lpips                                   learned perceptual distance, when weights are at hand
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common import metrics_image
from services.common.body import CONFIDENT, chain_heights
from services.common.camera import resize, warp
from services.common.skeleton import BODY

Picture = NDArray[np.uint8]
Keypoints = NDArray[np.float32]
Metrics = dict[str, float]
Perceptual = Callable[[Picture, Picture], float]
Visible = Callable[[Sequence[Picture], Sequence[Picture]], float]

SHORT_SIDE_PX = 256
MASK_GROWTH_PX = 7
# Consecutive frames at most whose visible differences are measured: it takes a CPU a tenth of a second a frame.
_MOST_VISIBLE = 24
# A person found farther away than this, in body heights, is somebody else, or nothing.
_SAME_PERSON = 0.5
_LEAST_JOINTS = 6


@dataclass(frozen=True)
class Row:
    """One performance: pictures uint8 (H, W, 3) by frame; people float32 (N, 133, 3) found again in each frame."""

    pictures: Mapping[int, Picture]
    people: Mapping[int, Keypoints]


def measured_size(width: int, height: int) -> tuple[int, int]:
    """Width and height, px, at which pictures of `width` x `height` px are measured."""
    factor = SHORT_SIDE_PX / min(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def measured(picture: Picture) -> Picture:
    """The picture at the size at which all is measured."""
    height, width = picture.shape[:2]
    size = measured_size(width, height)
    return warp(picture, resize((width, height), size), size)


def person_masks(mattes: Mapping[int, Picture]) -> dict[int, NDArray[np.bool_]]:
    """Where the person is, at the measured size; frames without one are left out."""
    masks = {frame: metrics_image.grow_mask(matte, MASK_GROWTH_PX) for frame, matte in mattes.items()}
    return {frame: mask for frame, mask in masks.items() if mask.any()}


def measure_row(
    row: Row,
    truth: Mapping[int, Picture],
    masks: Mapping[int, NDArray[np.bool_]],
    asked: Keypoints,
    perceptual: Perceptual | None = None,
    visible: Visible | None = None,
) -> Metrics:
    """The measures of one performance.

    Args:
        row: pictures at the measured size, people in px of the full frame.
        truth: the true pictures, at the measured size.
        masks: bool (h, w) of the same size.
        asked: float32 (F, 133, 3), the poses asked for, px of the full frame.
        perceptual: distance of two pictures.
        visible: difference of two films.

    Measures that the frames do not define (flicker of a single one) are left out.
    """
    frames = sorted(row.pictures.keys() & truth.keys() & masks.keys())
    pictures, truths = ([each[t] for t in frames] for each in (row.pictures, truth))
    inside = [masks[t] for t in frames]
    means = closeness(pictures, truths, inside) if frames else {}
    if frames and perceptual is not None:
        boxes = [_box(mask) for mask in inside]
        pairs = [(picture[box], true[box]) for picture, true, box in zip(pictures, truths, boxes, strict=True)]
        means["person_lpips"] = float(np.mean([perceptual(*pair) for pair in pairs]))
    if visible is not None:
        means |= visible_difference(pictures, truths, inside, visible)
    means |= pose_measures(row.people, asked)
    return finite(means)


def closeness(pictures: Sequence[Picture], truths: Sequence[Picture], masks: Sequence[NDArray[np.bool_]]) -> Metrics:
    """The measures of consecutive pictures, one at least, that need nothing but the truth and where the person is.

    All at the measured size. Flicker is nan for a single picture.
    """
    rows = []
    for picture, true, mask in zip(pictures, truths, masks, strict=True):
        scores = metrics_image.ssim_map(picture, true)
        rows.append({
            "person_ssim": float(scores[mask].mean()),
            "person_psnr_db": metrics_image.psnr_db(picture, true, mask),
            "ssim": float(scores.mean()),
            "psnr_db": metrics_image.psnr_db(picture, true),
            "sharpness": metrics_image.sharpness(picture, true, mask),
        })  # fmt: skip
    means = {name: float(np.mean([each[name] for each in rows])) for name in rows[0]}
    means["flicker"] = metrics_image.flicker(pictures, truths, masks)
    means["flicker_outside"] = metrics_image.change_outside(pictures, masks)
    return means


def visible_difference(
    pictures: Sequence[Picture], truths: Sequence[Picture], masks: Sequence[NDArray[np.bool_]], visible: Visible
) -> Metrics:
    """Of the middle of two films, in the box that the person never leaves; nothing of a single picture."""
    if len(pictures) < 2:
        return {}
    first = max(0, (len(pictures) - _MOST_VISIBLE) // 2)
    middle = slice(first, first + _MOST_VISIBLE)
    box = _box(np.logical_or.reduce(masks[middle]))
    films = ([each[box] for each in film[middle]] for film in (pictures, truths))
    return {"person_cvvdp_jod": visible(*films)}


def finite(metrics: Metrics) -> Metrics:
    """The measures that are defined, rounded."""
    return {name: round(value, 6) for name, value in metrics.items() if math.isfinite(value)}


def pose_measures(people: Mapping[int, Keypoints], asked: Keypoints) -> Metrics:
    """How far the body joints found again are from those asked for, and in how many frames nobody was found.

    people: by frame, float32 (N, 133, 3), px. asked: float32 (F, 133, 3), px. In each frame the person nearest to the
    pose asked for counts.
    """
    heights = chain_heights(asked)
    height = float(np.median(heights[np.isfinite(heights)])) if np.isfinite(heights).any() else math.nan
    distances = []
    missed = 0
    for frame, pose in enumerate(asked):
        found = [_distance(person, pose) / height for person in people.get(frame, ())]
        nearest = min(found, default=math.inf)
        if nearest <= _SAME_PERSON:
            distances.append(nearest)
        else:
            missed += 1
    mean = float(np.mean(distances)) if distances else math.nan
    return {"pose_distance": mean, "missed_poses": missed / max(1, len(asked))}


def _distance(person: Keypoints, pose: Keypoints) -> float:
    sure = np.minimum(person[BODY, 2], pose[BODY, 2]) >= CONFIDENT
    if sure.sum() < _LEAST_JOINTS:
        return math.inf
    return float(np.hypot(*(person[BODY, :2] - pose[BODY, :2])[sure].T).mean())


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Where the person is, at least as large as a network's receptive field needs."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    across, down = max(width, 64), max(height, 64)
    return slice(max(0, top), top + down), slice(max(0, left), left + across)
