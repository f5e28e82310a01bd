"""The preview: source, target and driven poses beside each other, since a wrong scale is seen at a glance."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.draw import draw_pose
from services.common.tracks import CameraPath, PoseTrack

Image = NDArray[np.uint8]

ROWS = 4
_HEIGHT_PX = 320
_GAP_PX = 4


def preview(
    source_frame: Callable[[int], Image],
    source: PoseTrack,
    target_frame: Callable[[int], Image],
    target: PoseTrack,
    driven: PoseTrack,
    target_camera: CameraPath,
) -> Image:
    """RGB picture with a row for each of up to four moments of the dance, spread evenly over its valid frames.

    In a row: the source as filmed with its pose, the target as filmed with its pose at the same part of its clip, and
    the driven pose over the target's reference frame, which is the camera that it belongs to.

    Args:
        source_frame, target_frame: RGB frames as filmed, by index.
        source, target: tracks as filmed. driven: in the target's registered camera.
    """
    ours, theirs = _moments(source.valid), _moments(target.valid)
    stage = target_frame(target_camera.reference_frame)
    rows = []
    for mine, other in zip(ours, theirs, strict=True):
        pictures = (
            draw_pose(source_frame(mine), source.keypoints[mine]),
            draw_pose(target_frame(other), target.keypoints[other]),
            draw_pose(stage, driven.keypoints[mine]),
        )
        rows.append(_beside([_resized(picture) for picture in pictures]))
    return np.concatenate(rows, axis=0)


def _moments(valid: NDArray[np.bool_]) -> list[int]:
    frames = np.flatnonzero(valid)
    picks = (np.arange(ROWS) + 0.5) / ROWS * len(frames)
    return [int(frame) for frame in frames[picks.astype(int)]]


def _resized(image: Image) -> Image:
    width = max(1, round(image.shape[1] * _HEIGHT_PX / image.shape[0]))
    return np.asarray(cv2.resize(image, (width, _HEIGHT_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _beside(pictures: list[Image]) -> Image:
    framed = [np.pad(picture, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=255) for picture in pictures]
    return np.concatenate(framed, axis=1)
