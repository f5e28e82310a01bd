"""A figure of capsules that waves and walks before a patterned wall: a studied target, made in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.camera import invert, warp
from services.common.tracks import CameraPath, PoseTrack

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Study:
    """Frames and mattes as filmed, the poses in them, where the camera was, and the wall in the registered camera."""

    frames: list[Picture]
    mattes: list[Picture]
    track: PoseTrack
    camera: CameraPath
    plate: Picture

    def __iter__(self) -> Iterator[tuple[int, Picture, Picture]]:
        return iter(zip(range(len(self.frames)), self.frames, self.mattes, strict=True))


def make_study(count: int, width: int = 160, height: int = 120, drift_px: float = 2.0) -> Study:
    """`count` frames of the figure, by a camera that drifts by `drift_px`."""
    plate = make_plate(width, height)
    phases = np.arange(count) / 12.0
    matrices = np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (count, 1, 1))
    matrices[:, 0, 2] = drift_px * np.sin(phases / 2.0)
    camera = CameraPath(matrices, np.zeros(count, np.float32), 0, width, height)
    registered = np.stack([make_pose(phase, width, height) for phase in phases])
    valid = np.ones(count, dtype=np.bool_)
    track = PoseTrack(registered, valid, width, height).transformed(invert(matrices))
    frames, mattes = [], []
    for t in range(count):
        alpha, colour = _draw_figure(track.keypoints[t], width, height)
        wall = warp(plate, invert(matrices[t]), (width, height)).astype(np.float64)
        mix = alpha[..., None] / 255.0
        frames.append(np.rint(wall * (1 - mix) + colour * mix).astype(np.uint8))
        mattes.append(alpha)
    return Study(frames, mattes, track, camera, plate)


def make_plate(width: int, height: int) -> Picture:
    """A wall with stripes and a gradient."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    planes = [120 + 40 * np.sin(x / 5.0), 90 + 60 * y / height, 100 + 30 * np.sin((x + y) / 9.0)]
    return np.asarray(np.rint(np.stack(planes, axis=2)), dtype=np.uint8)


def make_pose(phase: float, width: int, height: int) -> NDArray[np.float32]:
    """Keypoints (133, 3) at a moment of the dance, px of a `width` x `height` frame."""
    h = height * 0.7
    middle, head = width * (0.5 + 0.1 * np.sin(phase * 0.7)), height * 0.15
    points = np.zeros((133, 2))
    swing, step = 0.9 * np.sin(phase * 2.0), 0.06 * np.sin(phase * 3.0)
    points[0] = middle, head
    points[1:5] = points[0] + h * np.array([[0.02, -0.02], [-0.02, -0.02], [0.05, 0.0], [-0.05, 0.0]])
    for side, sign in ((0, 1.0), (1, -1.0)):
        shoulder = np.array([middle + sign * 0.12 * h, head + 0.17 * h])
        angle = 0.4 + swing * sign
        arm = np.array([sign * np.cos(angle), np.sin(angle)]) * 0.18 * h
        hip = np.array([middle + sign * 0.07 * h, head + 0.5 * h])
        knee, ankle = hip + h * np.array([sign * step, 0.22]), hip + h * np.array([sign * 2 * step, 0.44])
        points[[5 + side, 7 + side, 9 + side]] = shoulder, shoulder + arm, shoulder + 2 * arm
        points[[11 + side, 13 + side, 15 + side]] = hip, knee, ankle
        foot = ankle + h * np.array([[sign * 0.06, 0.03], [sign * 0.07, 0.02], [-sign * 0.02, 0.03]])
        points[17 + 3 * side : 20 + 3 * side] = foot
        hand = slice(91 + 21 * side, 112 + 21 * side)
        points[hand] = points[9 + side] + arm * np.linspace(0.0, 0.3, 21)[:, None]
    turn = np.linspace(0, 2 * np.pi, 68)
    points[23:91] = points[0] + 0.05 * h * np.stack([np.sin(turn), np.cos(turn)], axis=1)
    return np.concatenate([points, np.full((133, 1), 0.9)], axis=1).astype(np.float32)


def _draw_figure(keypoints: NDArray[np.float32], width: int, height: int) -> tuple[Picture, NDArray[np.float64]]:
    alpha = np.zeros((height, width), dtype=np.uint8)
    colour = np.zeros((height, width, 3), dtype=np.uint8)
    torso = [5, 6, 12, 11]
    limbs = [((5, 7, 9), (200, 60, 60)), ((6, 8, 10), (60, 60, 200)), ((11, 13, 15), (40, 120, 40)),
             ((12, 14, 16), (120, 120, 30)), ((15, 17), (20, 20, 20)), ((16, 20), (20, 20, 20))]  # fmt: skip
    thick = max(2, height // 16)

    def at(index: int) -> tuple[int, int]:
        x, y = np.rint(keypoints[index, :2] * 16).astype(int)
        return int(x), int(y)

    for canvas in (alpha, colour):
        polygon = np.array([at(i) for i in torso])
        cv2.fillPoly(canvas, [polygon], 255 if canvas is alpha else (230, 200, 40), cv2.LINE_AA, 4)
        cv2.circle(canvas, at(0), thick * 20, 255 if canvas is alpha else (220, 170, 140), -1, cv2.LINE_AA, 4)
        for chain, shade in limbs:
            for a, b in pairwise(chain):
                cv2.line(canvas, at(a), at(b), 255 if canvas is alpha else shade, thick, cv2.LINE_AA, 4)
    edge = np.maximum(alpha, 1)[..., None] / 255.0
    return alpha, np.clip(colour / edge, 0, 255)
