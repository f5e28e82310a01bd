"""Where a dance takes place: a camera, a room, light, and the small movements of a hand-held camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from services.common.synthetic.dance import Vector
from services.common.video import RGB

_MARGIN = 0.08
"""The room is painted larger than the frame by this on each side, so that a drifting camera never sees its edge."""


@dataclass(frozen=True)
class Scene:
    """A room and a camera in it. Lengths are metres; the camera looks along -z, level, from (0, camera_height)."""

    seed: int
    wall: tuple[int, int, int]
    floor: tuple[int, int, int]
    camera_distance: float = 4.6
    camera_height: float = 1.15
    field_of_view_degrees: float = 34.0
    """Vertical."""
    horizon: float = 0.5
    """Height of the horizon in the picture, fraction from the top."""
    side_range: float = 0.2
    """Half the room to move sideways, fraction of the dancer's height."""
    near_range: float = 0.2
    """Half the room to move towards the camera and away from it, fraction of the dancer's height."""
    wall_distance: float = 1.4
    """Of the back wall behind the middle of the floor."""
    drift: float = 0.0
    """Size of the hand-held camera's movement: 1 is a steady hand, 0 a tripod."""
    noise: float = 1.6
    """Standard deviation of the sensor's noise, code values."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera for one picture size."""

    scene: Scene
    width: int
    height: int

    @property
    def focal_px(self) -> float:
        return self.height / 2 / float(np.tan(np.radians(self.scene.field_of_view_degrees) / 2))

    def project(self, points: Vector) -> Vector:
        """World points (..., 3) in metres to (..., 3): x and y in px, distance from the camera in metres."""
        distance = self.scene.camera_distance - points[..., 2]
        x = self.width / 2 - 0.5 + self.focal_px * points[..., 0] / distance
        y = self.height * self.scene.horizon - self.focal_px * (points[..., 1] - self.scene.camera_height) / distance
        return np.stack([x, y, distance], axis=-1)

    def drift(self, seconds: float) -> Vector:
        """(2, 3) map of the steady picture to the drifting one, px."""
        size, phase = self.scene.drift, self.scene.seed * 1.7
        dx = size * self.height * (0.006 * np.sin(0.9 * seconds + phase) + 0.003 * np.sin(2.3 * seconds + 2 * phase))
        dy = size * self.height * (0.005 * np.sin(1.1 * seconds + 3 * phase) + 0.002 * np.sin(2.9 * seconds))
        turn = size * 0.006 * np.sin(0.7 * seconds + phase)
        zoom = 1.0 + size * 0.01 * np.sin(0.5 * seconds + phase)
        c, s = zoom * np.cos(turn), zoom * np.sin(turn)
        middle, moved = np.array([self.width / 2, self.height / 2]), np.array([dx, dy])
        turned = np.array([[c, -s], [s, c]])
        return np.column_stack([turned, middle + moved - turned @ middle])


class Room:
    """The painted room, ready to be looked at from a drifting camera."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._margin = round(_MARGIN * max(camera.width, camera.height))
        self._picture = _paint(camera, self._margin)

    def look(self, drift: Vector) -> RGB:
        """The empty room (H, W, 3) through a drift (2, 3)."""
        moved = drift.copy()
        moved[:, 2] -= drift[:, :2] @ np.array([self._margin, self._margin])
        size = (self._camera.width, self._camera.height)
        picture: Any = cv2.warpAffine(self._picture, moved, size, flags=cv2.INTER_LINEAR)
        seen: RGB = picture
        return seen


def _paint(camera: Camera, margin: int) -> RGB:
    rng = np.random.default_rng(camera.scene.seed)
    height, width = camera.height + 2 * margin, camera.width + 2 * margin
    picture = np.empty((height, width, 3), np.float32)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ys, xs = ys - margin, xs - margin
    scene = camera.scene
    corner = camera.project(np.array([0.0, 0.0, -scene.wall_distance]))[1]
    _paint_wall(picture, xs, ys, float(corner), camera, rng)
    _paint_floor(picture, xs, ys, float(corner), camera)
    texture: Any = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 1.1)
    clouds: Any = cv2.resize(
        rng.standard_normal((9, 9)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    picture *= (1 + 0.10 * texture + 0.05 * clouds)[..., None]
    _furnish(picture, margin, float(corner), camera, rng)
    side = np.abs(xs / camera.width - 0.5) * 2
    picture *= (1.06 - 0.22 * side**2)[..., None]
    painted: RGB = np.clip(picture, 0, 255).astype(np.uint8)
    return painted


def _paint_wall(
    picture: npt.NDArray[np.float32], xs: Any, ys: Any, corner: float, camera: Camera, rng: np.random.Generator
) -> None:
    wall = np.array(camera.scene.wall, np.float32)
    stripe = 0.5 + 0.5 * np.sign(np.sin(xs / camera.height * (34 + 10 * rng.random())))
    picture[:] = wall * (1 - 0.07 * stripe)[..., None] * (1.05 - 0.15 * ys / camera.height)[..., None]
    skirting = (ys > corner - 0.025 * camera.height) & (ys <= corner)
    picture[skirting] = wall * 0.55


def _paint_floor(picture: npt.NDArray[np.float32], xs: Any, ys: Any, corner: float, camera: Camera) -> None:
    scene = camera.scene
    below = ys > corner
    drop = np.maximum(ys - camera.height * scene.horizon, 1e-3)
    distance = camera.focal_px * scene.camera_height / drop
    x = (xs - camera.width / 2) * distance / camera.focal_px
    board = np.floor(x / 0.16)
    shade = 0.9 + 0.12 * np.modf(np.abs(np.sin(board * 12.9898) * 43758.5453))[0]
    grain = 0.03 * np.sin(distance * 40 + board * 7)
    joint = np.abs(x / 0.16 - np.round(x / 0.16)) < 0.03
    colour = np.array(scene.floor, np.float32) * (shade + grain - 0.3 * joint)[..., None]
    picture[below] = colour[below]


def _furnish(picture: Any, margin: int, corner: float, camera: Camera, rng: np.random.Generator) -> None:
    """Pictures on the wall, a window, a plant and a low shelf: corners that a camera's movement can be read from."""
    width, height = camera.width, camera.height

    def box(x: float, y: float, w: float, h: float, colour: Any) -> None:
        first = (round(x * width) + margin, round(y * height) + margin)
        second = (round((x + w) * width) + margin, round((y + h) * height) + margin)
        cv2.rectangle(picture, first, second, [float(value) for value in colour], -1)

    for x in (0.04, 0.78):
        w, h, y = 0.15 + 0.03 * rng.random(), 0.17 + 0.05 * rng.random(), 0.10 + 0.06 * rng.random()
        box(x, y, w, h, (52, 40, 34))
        box(x + 0.012, y + 0.012, w - 0.024, h - 0.024, rng.uniform(120, 230, 3))
        for _ in range(5):
            box(x + 0.015 + rng.random() * (w - 0.07), y + 0.02 + rng.random() * (h - 0.08), 0.035, 0.04,
                rng.uniform(30, 240, 3))  # fmt: skip
    floor = corner / height
    box(-0.05, floor - 0.20, 0.20, 0.20, rng.uniform(50, 110, 3))
    for index in range(6):
        box(-0.04 + 0.03 * index, floor - 0.19 + 0.02 * rng.random(), 0.022, 0.14, rng.uniform(40, 220, 3))
    pot = (round(0.93 * width) + margin, round(corner) + margin)
    cv2.rectangle(picture, (pot[0] - width // 30, pot[1] - height // 14), (pot[0] + width // 30, pot[1] + height // 60),
                  (150, 84, 60), -1)  # fmt: skip
    for _ in range(14):
        tip = (pot[0] + round(rng.normal(0, width / 22)), pot[1] - round(height * rng.uniform(0.1, 0.26)))
        cv2.line(
            picture, (pot[0], pot[1] - height // 16), tip, (44, 92 + float(rng.integers(40)), 50), max(2, width // 120)
        )
