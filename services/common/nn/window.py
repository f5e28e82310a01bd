"""The window: the part of the registered camera that the generator looks at, following the dancer.

Its centre is the dancer's, smoothed over time without lag; its scale is one number for a performer, chosen so that the
person fills the generator's resolution and yet no stretched arm or jump leaves it. Everything here is a pure function
of a track, so any shard can be rendered alone. Needs numpy alone.

Pixel centres are at integers (OpenCV's convention) in the registered camera and in the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.common.tracks import PoseTrack, transform_keypoints

Floats = NDArray[np.float64]

LEAD = 6
"""Frames that a generator which is given its own last picture begins early: by then it has forgotten how it began."""
# Keypoints less sure than this do not decide where the window is: a guessed hand must not drag it about.
_SURE = 0.3
# Keypoints end at eyes, knuckles and soles; hair, clothes and shoes reach further by this part of the person's height.
_MARGIN = 0.1
# The centre is smoothed by a Gaussian of this many frames, the extents' outliers removed by a median of so many.
_SMOOTH_FRAMES = 4.0
_MEDIAN_FRAMES = 5
# A driven track may need a larger window than the performer was trained in; beyond this factor the person is cut.
_LARGEST_GROWTH = 2.0


@dataclass(frozen=True)
class WindowPath:
    """Where the window is in each frame of a track.

    width, height: the window's size in its own px. matrices: float64 (T, 2, 3), window_xy = M[t] @ [x, y, 1] from the
    registered camera: one scale for all frames and a translation, whole window px, so that the registered camera
    scaled once holds every window as a plain slice.
    """

    width: int
    height: int
    matrices: Floats

    @property
    def scale(self) -> float:
        """Window px per px of the registered camera."""
        return float(self.matrices[0, 0, 0])

    def keypoints(self, track: PoseTrack) -> NDArray[np.float32]:
        """The track's keypoints in window px, float32 (T, 133, 3)."""
        return track.transformed(self.matrices).keypoints

    def poses(self, track: PoseTrack, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same of some frames (N,) alone: float32 (N, 133, 3)."""
        return transform_keypoints(self.matrices[frames], track.keypoints[frames])

    @property
    def centre(self) -> Floats:
        """The middle of the first frame's window, float64 (2,), px of the registered camera."""
        middle = np.array([(self.width - 1) / 2.0, (self.height - 1) / 2.0])
        return np.asarray((middle - self.matrices[0, :, 2]) / self.scale)

    def resized(self, width: int, height: int) -> WindowPath:
        """The window of another size about the same centres (differences of sizes must be even)."""
        moved = self.matrices.copy()
        moved[:, 0, 2] += (width - self.width) // 2
        moved[:, 1, 2] += (height - self.height) // 2
        return replace(self, width=width, height=height, matrices=moved)


def fit_window(track: PoseTrack, resolution: int, *, still: bool = False) -> WindowPath:
    """The square window to train in: `resolution` px a side, as close as all of the person in all frames allows.

    still: it does not follow the person but stays where all frames' persons are inside.
    Raises ValueError when no frame is valid.
    """
    centres, half_width, half_height = _follow(track)
    if still:
        middle = _middle(centres, half_width, half_height)
        centres, half_width, half_height = _about(middle, centres, half_width, half_height)
    side_px = 2.0 * max(float(half_width.max()), float(half_height.max()), 1.0)
    return _path(centres, resolution / side_px, resolution, resolution)


def follow_window(
    track: PoseTrack, scale: float, resolution: int, multiple: int, centre: Floats | None = None
) -> WindowPath:
    """The window to render a driven track in, at the performer's scale.

    It is the training window, made wider or higher by multiples of `multiple` px where the dance reaches further.
    centre: float64 (2,), where a window that stands still was trained, px of the registered camera.
    Raises ValueError when no frame is valid.
    """
    centres, half_width, half_height = _follow(track)
    if centre is not None:
        centres, half_width, half_height = _about(centre, centres, half_width, half_height)
    sides = []
    for half in (half_width, half_height):
        needed = min(2.0 * float(half.max()) * scale, resolution * _LARGEST_GROWTH)
        sides.append(resolution + multiple * max(0, int(np.ceil((needed - resolution) / multiple))))
    return _path(centres, scale, sides[0], sides[1])


def person_boxes(track: PoseTrack) -> Floats:
    """The box of the sure keypoints of each frame: float64 (T, 4) left, top, right, bottom px; nan where unknown."""
    known = (track.keypoints[..., 2] >= _SURE) & track.valid[:, None]
    boxes = np.full((len(track), 4), np.nan)
    for frame in np.flatnonzero(known.any(axis=1)):
        points = track.keypoints[frame, known[frame], :2]
        boxes[frame] = [*points.min(axis=0), *points.max(axis=0)]
    return boxes


def _follow(track: PoseTrack) -> tuple[Floats, Floats, Floats]:
    """Smoothed centres (T, 2) and the half width and half height (T,) that the person needs about them, px."""
    boxes = person_boxes(track)
    known = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(known):
        raise ValueError(f"none of the track's {len(track)} frames shows a sure pose")
    frames = np.arange(len(track))
    boxes = np.stack([np.interp(frames, known, boxes[known, side]) for side in range(4)], axis=1)
    boxes = np.stack([_median(boxes[:, side]) for side in range(4)], axis=1)
    centres = _smooth((boxes[:, :2] + boxes[:, 2:]) / 2.0)
    margin = _MARGIN * float(np.percentile(boxes[:, 3] - boxes[:, 1], 90.0))
    reach = np.maximum(centres - boxes[:, :2], boxes[:, 2:] - centres) + margin
    return centres, reach[:, 0], reach[:, 1]


def _middle(centres: Floats, half_width: Floats, half_height: Floats) -> Floats:
    """The middle (2,) of what the person covers in all frames."""
    halves = np.stack([half_width, half_height], axis=1)
    return np.asarray(((centres - halves).min(axis=0) + (centres + halves).max(axis=0)) / 2.0)


def _about(middle: Floats, centres: Floats, half_width: Floats, half_height: Floats) -> tuple[Floats, Floats, Floats]:
    """The same for a window that stays about `middle` (2,): the person's distance from it is needed as well."""
    away = np.abs(centres - middle)
    return np.broadcast_to(middle, centres.shape), half_width + away[:, 0], half_height + away[:, 1]


def _median(values: Floats) -> Floats:
    padded = np.pad(values, _MEDIAN_FRAMES // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN_FRAMES), axis=1)


def _smooth(values: Floats) -> Floats:
    """Gaussian over axis 0; both ends mirrored in a point, so that steady motion is kept there."""
    if len(values) == 1:
        return values
    radius = min(int(3 * _SMOOTH_FRAMES), len(values) - 1)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / _SMOOTH_FRAMES) ** 2)
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=0)
    return np.asarray(views @ (kernel / kernel.sum()))


def _path(centres: Floats, scale: float, width: int, height: int) -> WindowPath:
    matrices = np.zeros((len(centres), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    middle = np.array([(width - 1) / 2.0, (height - 1) / 2.0])
    matrices[:, :, 2] = np.round(middle - centres * scale)
    return WindowPath(width, height, matrices)
