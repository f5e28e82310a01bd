"""What is behind the performer in each frame, and how the frame looks onto the target's registered camera.

Frames are made one at a time, so memory does not grow with a clip's length, and each depends on its number alone.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactRef, Artifacts
from services.common.camera import compose, identity, invert, warp
from services.common.errors import DataCorrupted, InvalidOption
from services.common.frames import FrameReader
from services.common.tracks import CameraPath, PoseTrack
from services.renderer.backdrop import Backdrop
from services.renderer.standing import standing_in

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]

# A frame as filmed looks beyond the plate's edge by as much as the camera moved: it is enlarged by so much at most to
# keep that out of sight, what is left is the edge drawn on.
_LARGEST_ZOOM = 1.15


class Scenery(Protocol):
    """width, height: of the result, px."""

    width: int
    height: int

    def behind(self, frame: int) -> Picture:
        """uint8 (height, width, 3) of frame `frame` of the dance; not to be written to."""
        ...

    def view(self, frame: int, pose: int) -> Matrix:
        """float64 (2, 3), target's registered camera px to result px; `pose` is the frame whose pose is shown."""
        ...


def open_scenery(artifacts: Artifacts, backdrop: Backdrop, plate: Picture, driven: PoseTrack) -> Scenery:
    """The scenery of one performance.

    plate: uint8 (H, W, 3), the target's. driven: in the target's registered camera. Raises InvalidOption where the
    references do not belong together.
    """
    height, width = plate.shape[:2]
    if backdrop.kind == "clip":
        assert backdrop.clip is not None
        assert backdrop.source_clip is not None
        return Screen(artifacts, backdrop.clip, _rate(artifacts, backdrop.source_clip), width, height)
    motion = _motion(artifacts, backdrop)
    if backdrop.kind == "scene":
        assert backdrop.plate is not None
        return Place(read_plate(artifacts, backdrop.plate), motion, _standing(artifacts, backdrop, driven))
    if backdrop.kind == "plate":
        return Place(plate, motion, None)
    shade = [int(backdrop.colour[at : at + 2], 16) for at in (1, 3, 5)] if backdrop.colour else [0, 0, 0]
    return Place(np.full((height, width, 3), shade, dtype=np.uint8), None, None)


class Place:
    """A still picture, seen by a steady camera or one that moves.

    views: float64 (T, 2, 3), from the picture's camera to each frame's, or None. standing: float64 (T, 2, 3), target's
    registered camera to the picture, or None where the picture is the target's plate.
    """

    def __init__(self, picture: Picture, views: Matrix | None, standing: Matrix | None) -> None:
        self.height, self.width = picture.shape[:2]
        self._picture, self._standing = picture, standing
        self._views = None if views is None else _zoomed(views, self.width, self.height)

    def behind(self, frame: int) -> Picture:
        if self._views is None:
            return self._picture
        return warp(self._picture, self._view(frame), (self.width, self.height))

    def view(self, frame: int, pose: int) -> Matrix:
        standing = identity() if self._standing is None else self._standing[pose]
        return standing if self._views is None else compose(self._view(frame), standing)

    def _view(self, frame: int) -> Matrix:
        assert self._views is not None
        return np.asarray(self._views[to_and_fro(frame, len(self._views))], dtype=np.float64)


class Screen:
    """A picture, or a video in a loop at its own speed, scaled to cover the frame and cut about the middle."""

    def __init__(self, artifacts: Artifacts, clip: ArtifactRef, rate: Fraction, width: int, height: int) -> None:
        facts = artifacts.open(clip).facts
        self.width, self.height = width, height
        self._reader = FrameReader.of_clip(artifacts, facts)
        self._frames = int(facts["frame_count"])
        self._pace = _rate(artifacts, clip) / rate
        self._shown: tuple[int, Picture] | None = None

    def behind(self, frame: int) -> Picture:
        index = int(frame * self._pace) % self._frames
        if self._shown is None or self._shown[0] != index:
            self._shown = index, covering(self._reader.frame(index), self.width, self.height)
        return self._shown[1]

    def view(self, frame: int, pose: int) -> Matrix:
        del frame, pose
        return identity()


def covering(picture: Picture, width: int, height: int) -> Picture:
    """The picture scaled to cover `width` x `height` px, its middle kept."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    across, down = width / scale, height / scale
    left, top = (picture.shape[1] - across) / 2, (picture.shape[0] - down) / 2
    matrix = np.array([[scale, 0.0, (0.5 - left) * scale - 0.5], [0.0, scale, (0.5 - top) * scale - 0.5]])
    return warp(picture, matrix, (width, height))


def to_and_fro(frame: int, count: int) -> int:
    """Frame of a path of `count` that is walked forward, then backward, and so on: it never jumps."""
    period = max(1, 2 * (count - 1))
    at = frame % period
    return min(at, period - at) if count > 1 else 0


def read_plate(artifacts: Artifacts, ref: ArtifactRef) -> Picture:
    """uint8 (H, W, 3). Raises DataCorrupted."""
    artifact = artifacts.open(ref)
    picture: Any = cv2.imdecode(np.frombuffer(artifact.read_bytes("plate.png"), np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise DataCorrupted("plate.png cannot be decoded; run the same command again", kind=ref.kind, key=ref.key)
    return np.asarray(picture, dtype=np.uint8)


def _rate(artifacts: Artifacts, clip: ArtifactRef) -> Fraction:
    rate = artifacts.open(clip).facts["frame_rate"]
    return Fraction(int(rate["numerator"]), int(rate["denominator"]))


def _motion(artifacts: Artifacts, backdrop: Backdrop) -> Matrix | None:
    """The camera's motion at the dance's rate: float64 (T, 2, 3), registered camera to frame as filmed."""
    if backdrop.camera is None:
        return None
    assert backdrop.camera_clip is not None
    assert backdrop.source_clip is not None
    path = CameraPath.from_arrays(artifacts.open(backdrop.camera).read_arrays("camera.safetensors"))
    pace = float(_rate(artifacts, backdrop.camera_clip) / _rate(artifacts, backdrop.source_clip))
    times = np.arange(max(1, round((len(path) - 1) / pace) + 1)) * pace
    filmed = invert(path.matrices).reshape(len(path), 6)
    frames = np.arange(len(path))
    between = [np.interp(times, frames, filmed[:, entry]) for entry in range(6)]
    return np.stack(between, axis=1).reshape(-1, 2, 3)


def _standing(artifacts: Artifacts, backdrop: Backdrop, driven: PoseTrack) -> Matrix:
    assert backdrop.source_track is not None
    assert backdrop.source_camera is not None
    source = PoseTrack.from_arrays(artifacts.open(backdrop.source_track).read_arrays("track.safetensors"))
    camera = CameraPath.from_arrays(artifacts.open(backdrop.source_camera).read_arrays("camera.safetensors"))
    if not len(source) == len(camera) == len(driven):
        raise InvalidOption(
            f"the dance has {len(driven)} frames, the source's track {len(source)} and its camera path {len(camera)}"
        )
    return standing_in(driven, source.transformed(camera.matrices))


def _zoomed(views: Matrix, width: int, height: int) -> Matrix:
    """The views enlarged about the middle, all by the same, so that the picture's edge stays out of sight."""
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=np.float64)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    # What the result's corners see, from the middle, relative to where the picture ends.
    seen = np.einsum("tij,kj->tki", invert(views)[:, :, :2], corners) + invert(views)[:, None, :, 2]
    beyond = float((np.abs(seen - middle) / middle).max())
    # A view moved by d needs 1 / (1 - d): what is enlarged about the middle is moved by more.
    zoom = min(max(1.0, 1.0 / max(2.0 - beyond, 1e-3)), _LARGEST_ZOOM)
    enlarge = np.array([[zoom, 0.0, middle[0] * (1 - zoom)], [0.0, zoom, middle[1] * (1 - zoom)]])
    return compose(enlarge, views)
