"""One frame's camera, measured on the background: optical flow against a reference frame, robustly fitted.

Corners by Shi and Tomasi ("Good Features to Track", CVPR 1994), pyramidal Lucas-Kanade flow forward and back
(Bouguet 2001; Kalal et al., "Forward-Backward Error", ICPR 2010), a similarity by RANSAC (Fischler and Bolles 1981).
All sizes here are in working pixels: the frame reduced for speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common import camera

Gray = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Points = NDArray[np.float32]

_MAX_POINTS = 500
_MIN_POINTS = 14
_POINT_DISTANCE_PX = 9.0
_WINDOW_PX = 21
_PYRAMID_LEVELS = 3
_FORWARD_BACKWARD_PX = 0.6
_RANSAC_PX = 1.5
_MIN_INLIER_SHARE = 0.4
# A fit whose predicted error at the worst corner of the frame exceeds this says nothing about the camera.
_MAX_UNCERTAINTY_PX = 1.0
_ANOTHER_ROUND_PX = 1.0


@dataclass(frozen=True)
class Reference:
    """A frame that others are measured against: corners on its background, and the map from it to the root frame."""

    index: int
    gray: Gray  # (H, W)
    points: Points  # (N, 2)
    to_root: camera.Matrix  # (2, 3)

    @property
    def measurable(self) -> bool:
        return len(self.points) >= _MIN_POINTS


@dataclass(frozen=True)
class Fit:
    """The camera of one frame: `matrix` maps the frame to its reference."""

    matrix: camera.Matrix  # (2, 3)
    here: Points  # (N, 2) inliers in the frame
    there: Points  # (N, 2) the same in the reference
    residual_px: float  # median distance of the inliers after the map
    uncertainty_px: float  # predicted standard error of the map at the frame's worst corner
    tracked_share: float  # of the reference's points, how many are inliers


def make_reference(index: int, gray: Gray, people: Mask, to_root: camera.Matrix) -> Reference:
    """Corners on the background of a frame. people: uint8 (H, W), 255 where somebody hides the background."""
    free = np.asarray(cv2.bitwise_not(people), dtype=np.uint8)
    # Letters and borders burnt into the very edge do not move with the camera.
    free[:3], free[-3:], free[:, :3], free[:, -3:] = 0, 0, 0, 0
    found = cv2.goodFeaturesToTrack(gray, _MAX_POINTS, 0.003, _POINT_DISTANCE_PX, mask=free, blockSize=5)
    points = np.zeros((0, 2), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 2)
    return Reference(index, gray, points, to_root)


def measure(reference: Reference, gray: Gray, people: Mask, guess: camera.Matrix) -> Fit | None:
    """The map from a frame to `reference`, or None when its background cannot be followed.

    Args:
        gray: uint8 (H, W), the frame.
        people: uint8 (H, W), 255 where somebody hides the frame's background.
        guess: (2, 3), about where the frame lies; the frame is warped by it first, so that only the remainder has to
            be followed.
    """
    fit = _measure_once(reference, gray, people, guess)
    if fit is None:
        return None
    height, width = gray.shape
    moved = camera.compose(fit.matrix, camera.invert(guess))
    if camera.corner_displacement(moved[None], width, height)[0] > _ANOTHER_ROUND_PX:
        # Flow is best where little is left to follow.
        fit = _measure_once(reference, gray, people, fit.matrix) or fit
    return fit


def fit_similarity(here: Points, there: Points) -> NDArray[np.float64]:
    """Least-squares similarity (2, 3) that maps points `here` (N, 2) to `there` (N, 2)."""
    centre_here, centre_there = here.mean(axis=0, dtype=np.float64), there.mean(axis=0, dtype=np.float64)
    a, b = here - centre_here, there - centre_there
    spread = float((a**2).sum())
    cosine = float((a * b).sum()) / spread
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([linear, (centre_there - linear @ centre_here)[:, None]], axis=1)


def _measure_once(reference: Reference, gray: Gray, people: Mask, guess: camera.Matrix) -> Fit | None:
    height, width = gray.shape
    guessed = np.asarray(cv2.warpAffine(gray, guess, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    there, ahead = _follow(reference, guessed)
    here = camera.transform_points(camera.invert(guess), ahead).astype(np.float32)
    visible = _inside(here, people)
    here, there = here[visible], there[visible]
    if len(here) < _MIN_POINTS:
        return None
    # RANSAC of OpenCV starts from one fixed seed at each call: the same frames give the same camera.
    _, chosen = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=_RANSAC_PX, maxIters=500, confidence=0.995
    )
    inliers = np.asarray(chosen).ravel().astype(bool)  # none at all when there is no map
    if inliers.sum() < max(_MIN_POINTS, _MIN_INLIER_SHARE * len(here)):
        return None
    return _refined(here, there, inliers, len(reference.points), width, height)


def _follow(reference: Reference, guessed: Gray) -> tuple[Points, Points]:
    """Points of the reference that flow finds in `guessed` and brings back to where they came from."""
    start = reference.points[:, None]
    ahead, found = _flow(reference.gray, guessed, start)
    back, found_back = _flow(guessed, reference.gray, ahead)
    returned = np.linalg.norm((back - start)[:, 0], axis=1) < _FORWARD_BACKWARD_PX
    good = returned & found & found_back
    return reference.points[good], ahead[good, 0]


def _flow(first: Gray, second: Gray, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Where points (N, 1, 2) of the first picture are in the second, and which were found."""
    size, guess = (_WINDOW_PX, _WINDOW_PX), points.copy()
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, guess, winSize=size, maxLevel=_PYRAMID_LEVELS)
    return np.asarray(moved, dtype=np.float32), np.asarray(found).ravel() == 1


def _inside(points: Points, people: Mask) -> NDArray[np.bool_]:
    height, width = people.shape
    x, y = np.rint(points).astype(np.int64).T
    inside = (x >= 2) & (y >= 2) & (x < width - 2) & (y < height - 2)
    visible: NDArray[np.bool_] = inside & (people[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] == 0)
    return visible


def _refined(
    here: Points, there: Points, inliers: NDArray[np.bool_], reference_points: int, width: int, height: int
) -> Fit | None:
    """Least squares over the inliers, which are chosen again once with the better fit."""
    for _ in range(2):
        matrix = fit_similarity(here[inliers], there[inliers])
        distance = np.linalg.norm(camera.transform_points(matrix, here) - there, axis=1)
        inliers = distance < _RANSAC_PX
        if inliers.sum() < _MIN_POINTS:
            return None
    # Standard error of a similarity at distance r from the points' centre: sigma sqrt(1/n + r^2 / sum of squares).
    kept = here[inliers].astype(np.float64)
    centre = kept.mean(axis=0)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    reach = float(((corners - centre) ** 2).sum(axis=1).max())
    sigma = float(np.sqrt((distance[inliers] ** 2).mean()))
    uncertainty = sigma * float(np.sqrt(1 / len(kept) + reach / ((kept - centre) ** 2).sum()))
    if uncertainty > _MAX_UNCERTAINTY_PX:
        return None
    residual = float(np.median(distance[inliers]))
    return Fit(matrix, here[inliers], there[inliers], residual, uncertainty, len(kept) / max(1, reference_points))
