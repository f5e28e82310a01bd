"""Drawing a dancer: patches sorted from far to near, lit by one lamp, smoothed by drawing at twice the size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from services.common.synthetic.body import Dancer, Joints, joints, keypoints
from services.common.synthetic.dance import Dance, Vector, angle
from services.common.synthetic.face import face_shapes
from services.common.synthetic.mesh import Patches, body_surface
from services.common.synthetic.scene import Camera, Room, Scene
from services.common.video import RGB

_SCALE = 2
"""Drawn at this many times the size, then averaged."""
_LAMP = np.array([0.35, 0.75, 0.56])
_AMBIENT = 0.58
_FACE_TURN_LIMIT = 0.12
"""A face is drawn while it looks towards the camera by at least this cosine."""


@dataclass(frozen=True)
class SyntheticFrame:
    """One frame and the truth about it."""

    image: RGB
    """(H, W, 3) uint8."""
    alpha: npt.NDArray[np.uint8]
    """(H, W) uint8, 255 is the dancer."""
    keypoints: npt.NDArray[np.float32]
    """(23, 2) float32, px: COCO's 17 of the body, then 6 of the feet; hidden ones included."""
    drift: Vector
    """(2, 3): where the steady camera's pixels are in this frame."""


def render_clip(
    dancer: Dancer, dance: Dance, scene: Scene, frames: int, size: tuple[int, int], fps: float, *, first_frame: int = 0
) -> Iterator[SyntheticFrame]:
    """Frames first_frame .. first_frame + frames - 1 of a dance, `size` (width, height) px. The same arguments give
    the same pixels."""
    camera = Camera(scene, *size)
    room = Room(camera)
    for index in range(first_frame, first_frame + frames):
        yield _render(dancer, dance, camera, room, index, index / fps)


def body_at(dancer: Dancer, dance: Dance, scene: Scene, seconds: float) -> Joints:
    """The dancer's joints at a time of the dance, on the scene's floor."""
    posture = dance.posture(seconds)
    # Steps are as long as the body is tall, as a dance's are: so a transfer, which scales by height, has one truth.
    x = scene.side_range * dancer.height * angle(posture, "side")
    z = scene.near_range * dancer.height * float(np.clip(angle(posture, "near"), -1, 1))
    return joints(dancer, posture, x, z)


def _render(dancer: Dancer, dance: Dance, camera: Camera, room: Room, index: int, seconds: float) -> SyntheticFrame:
    scene = camera.scene
    body = body_at(dancer, dance, scene, seconds)
    drift = camera.drift(seconds)
    image = room.look(drift).astype(np.float32)
    image *= _shadow(body, camera, drift)[..., None]
    colour, alpha = _draw(dancer, body, camera, drift)
    cover = alpha.astype(np.float32)[..., None] / 255
    image += (colour - image) * cover
    rng = np.random.default_rng((scene.seed, index))
    image += scene.noise * rng.standard_normal(image.shape, np.float32)
    truth = camera.project(keypoints(dancer, body))[:, :2]
    truth = truth @ drift[:, :2].T + drift[:, 2]
    return SyntheticFrame(np.clip(image + 0.5, 0, 255).astype(np.uint8), alpha, truth.astype(np.float32), drift)


def _draw(dancer: Dancer, body: Joints, camera: Camera, drift: Vector) -> tuple[npt.NDArray[np.float32], Any]:
    """The dancer's colours (H, W, 3) float32, spread under the edge, and alpha (H, W) uint8."""
    polygons, colours, distance = _visible(body_surface(dancer, body), camera)
    if float(body.head_frame[2, 2]) > _FACE_TURN_LIMIT:
        # In front of the head whose surface they lie in, and in order among themselves.
        nearest = float(camera.project(body.head)[2]) - 0.075 * dancer.height
        light = _light(body.head_frame[:, 2])
        for order, shape in enumerate(face_shapes(dancer, body)):
            polygons.append(camera.project(shape.corners)[:, :2])
            colours.append([*(shape.colour * light).tolist(), 255.0])
            distance.append(nearest - 1e-4 * order)
    counts = [len(polygon) for polygon in polygons]
    points = np.concatenate(polygons) @ drift[:, :2].T + drift[:, 2]
    # OpenCV's fixed point: 3 bits below the pixel; (x + 0.5) * scale - 0.5 keeps pixel centres in place.
    fixed = np.split(np.round(((points + 0.5) * _SCALE - 0.5) * 8).astype(np.int32), np.cumsum(counts)[:-1])
    canvas = np.zeros((camera.height * _SCALE, camera.width * _SCALE, 4), np.uint8)
    for at in np.argsort(distance)[::-1].tolist():
        cv2.fillConvexPoly(canvas, fixed[at], colours[at], cv2.LINE_8, 3)
    # Nothing is drawn where alpha is 0, so the mean of the colours is their sum weighted by it.
    mean: Any = cv2.resize(canvas, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    cover = mean[..., 3]
    colour = mean[..., :3].astype(np.float32) * (255.0 / np.maximum(cover, 1))[..., None].astype(np.float32)
    return colour, cover


def _visible(surface: Patches, camera: Camera) -> tuple[list[Vector], list[list[float]], list[float]]:
    """Outlines (4, 2) px, colours with alpha, and distances of the patches that face the camera."""
    corners = surface.corners
    eye = np.array([0.0, camera.scene.camera_height, camera.scene.camera_distance])
    facing = np.einsum("ij,ij->i", surface.normals, eye - corners.mean(axis=1)) > 0
    projected = camera.project(corners[facing])
    shaded = np.clip(surface.colours[facing] * _light(surface.normals[facing])[:, None], 0, 255)
    colours = np.column_stack([shaded, np.full(len(shaded), 255.0)])
    distance = projected[..., 2].mean(axis=1) - surface.nearer[facing]
    return list(projected[..., :2]), colours.tolist(), distance.tolist()


def _light(normal: Vector) -> Any:
    """Brightness of surfaces with normals (..., 3)."""
    return _AMBIENT + (1.12 - _AMBIENT) * np.clip(normal @ _LAMP, -0.25, None)


def _shadow(body: Joints, camera: Camera, drift: Vector) -> npt.NDArray[np.float32]:
    """Darkening (H, W) of the floor under the feet and the body."""
    shadow = np.ones((camera.height, camera.width), np.float32)
    for leg in body.legs.values():
        low = leg.end * [1, 0, 1] + [0, 0, 0.03]
        x, y, distance = camera.project(low)
        x, y = drift[:, :2] @ [x, y] + drift[:, 2]
        reach = camera.focal_px / distance
        away = max(0.0, 1.0 - 4.0 * float(leg.end[1] - 0.08))
        axes = (max(1, round(0.17 * reach)), max(1, round(0.055 * reach)))
        cv2.ellipse(shadow, (round(x), round(y)), axes, 0, 0, 360, float(1 - 0.35 * away), -1)
    blurred: Any = cv2.GaussianBlur(shadow, (0, 0), camera.height / 90)
    darkening: npt.NDArray[np.float32] = blurred
    return darkening
