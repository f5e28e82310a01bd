"""The parts of the body that move as one piece, and their maps from one pose to another.

A part lies about a bone between two ends. Its map keeps the bone's direction and length and the part's thickness:
limbs that are foreshortened become shorter, never thinner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s

Floats = NDArray[np.float64]
# An end of a bone: the keypoints whose mean it is.
End = tuple[int, ...]

# A bone is stretched by no more than this along its length: beyond, the reference shows another view of it.
_LARGEST_STRETCH = 2.5
_LARGEST_WIDENING = 1.5
# Bones shorter than this part of the trunk point at the camera, and their direction means nothing.
_SHORTEST = 0.08


@dataclass(frozen=True)
class Part:
    """One piece. radius: its half thickness, as part of the trunk's length. rank: the larger lies in front."""

    name: str
    start: End
    end: End
    radius: float
    rank: float = 0.0


_NECK: Final = (s.LEFT_SHOULDER, s.RIGHT_SHOULDER)
_HIPS: Final = (s.LEFT_HIP, s.RIGHT_HIP)
_HEAD: Final = (s.NOSE, s.LEFT_EYE, s.RIGHT_EYE, s.LEFT_EAR, s.RIGHT_EAR)


def _limbs(side: str) -> tuple[Part, ...]:
    shoulder, elbow, wrist, hip, knee, ankle, toe, hand = (
        (s.LEFT_SHOULDER, s.LEFT_ELBOW, s.LEFT_WRIST, s.LEFT_HIP, s.LEFT_KNEE, s.LEFT_ANKLE, s.LEFT_BIG_TOE,
         s.LEFT_HAND.start)
        if side == "left" else
        (s.RIGHT_SHOULDER, s.RIGHT_ELBOW, s.RIGHT_WRIST, s.RIGHT_HIP, s.RIGHT_KNEE, s.RIGHT_ANKLE, s.RIGHT_BIG_TOE,
         s.RIGHT_HAND.start)
    )  # fmt: skip
    return (
        Part(f"{side}_thigh", (hip,), (knee,), 0.24),
        Part(f"{side}_shin", (knee,), (ankle,), 0.2),
        Part(f"{side}_foot", (ankle,), (toe,), 0.16),
        Part(f"{side}_upper_arm", (shoulder,), (elbow,), 0.17, 0.5),
        Part(f"{side}_forearm", (elbow,), (wrist,), 0.14, 1.0),
        Part(f"{side}_hand", (wrist,), (hand + 9, hand + 13), 0.14, 1.0),
    )


PARTS: Final[tuple[Part, ...]] = (
    Part("trunk", _NECK, _HIPS, 0.36),
    Part("head", _NECK, _HEAD, 0.3, 0.25),
    *_limbs("left"),
    *_limbs("right"),
)
FRONT: Final = [index for index, part in enumerate(PARTS) if part.rank >= 1.0]
BEHIND: Final = np.array([part.rank < 0.5 for part in PARTS])
# Points of a bone that are looked at, and how sure its ends have to be.
_SAMPLES, SURE = 9, 0.3
TRUNK: Final = 0
HEAD: Final = 1
HEAD_POINTS: Final = list(_HEAD)
"""Nose, eyes and ears."""
LIMBS: Final = tuple(
    tuple(index for index, part in enumerate(PARTS) if part.name in {f"{side}_{name}" for name in names})
    for side in ("left", "right") for names in (("thigh", "shin", "foot"), ("upper_arm", "forearm", "hand"))
)  # fmt: skip
"""The parts of each leg and arm, from the body outwards."""


@dataclass(frozen=True)
class Posed:
    """The parts of one pose.

    starts, ends: float64 (P, 2), the bones' ends, px. confidence: float64 (P,), the less sure of the two.
    trunk_px: length of the trunk, the measure of thickness. width_px: of the shoulders and hips, across the trunk.
    points: float64 (133, 3), the keypoints.
    """

    starts: Floats
    ends: Floats
    confidence: Floats
    trunk_px: float
    width_px: float
    points: Floats

    @property
    def radii_px(self) -> Floats:
        return np.array([part.radius for part in PARTS]) * self.trunk_px


def pose_parts(keypoints: NDArray[np.float32], trunk_px: float) -> Posed:
    """The parts of a pose (133, 3).

    trunk_px: the trunk's length as the clip shows it at its longest; in a bow it is foreshortened.
    """
    points = keypoints.astype(np.float64)
    starts, start_sure = _ends(points, [part.start for part in PARTS])
    ends, end_sure = _ends(points, [part.end for part in PARTS])
    axis = ends[TRUNK] - starts[TRUNK]
    across = np.array([-axis[1], axis[0]]) / max(float(np.hypot(*axis)), 1e-6)
    widths = [abs(float((points[a, :2] - points[b, :2]) @ across)) for a, b in (_NECK, _HIPS)]
    return Posed(starts, ends, np.minimum(start_sure, end_sure), trunk_px, float(np.mean(widths)), points)


def trunk_length(keypoints: NDArray[np.float32]) -> float:
    """The trunk's length, px, of keypoints (T, 133, 3): nearly the longest that is seen, for bows foreshorten it."""
    necks, hips = keypoints[:, _NECK, :2].mean(axis=1), keypoints[:, _HIPS, :2].mean(axis=1)
    return max(float(np.percentile(np.hypot(*(necks - hips).T), 80.0)), 1.0)


def part_maps(driven: Posed, reference: Posed) -> Floats:
    """float64 (P, 2, 3): each part's map from the driven picture to the reference's."""
    size = reference.trunk_px / driven.trunk_px
    maps = np.empty((len(PARTS), 2, 3))
    widening = np.full(len(PARTS), size)
    widening[TRUNK] = size * _clip(reference.width_px / max(driven.width_px, 1.0) / size, _LARGEST_WIDENING)
    for index in range(len(PARTS)):
        maps[index] = _bone_map(driven, reference, index, size, widening[index])
    maps[HEAD] = _head_map(driven.points, reference.points, size, maps[HEAD])
    return maps


def turn_between(driven: Posed, reference: Posed) -> Floats:
    """float64 (P,): how differently each bone stands, 0 (the same) to 2 (turned round or of quite another length)."""
    a, b = driven.ends - driven.starts, reference.ends - reference.starts
    a, b = a / driven.trunk_px, b / reference.trunk_px
    return np.asarray(np.minimum(np.hypot(*(a - b).T) / np.maximum(0.25, np.hypot(*a.T)), 2.0))


def covered(posed: Posed) -> Floats:
    """float64 (P,), 0 to 1: how much of each part a forearm or a hand lies before.

    As areas, were each part a band about its bone. None of what lies in front itself is said to be covered.
    """
    along = np.linspace(0.0, 1.0, _SAMPLES)[:, None, None]
    points = (posed.starts + along * (posed.ends - posed.starts))[:, FRONT].reshape(-1, 2)
    bones, radii = posed.ends - posed.starts, posed.radii_px
    lengths = np.hypot(*bones.T)
    areas = (lengths * radii * (posed.confidence > SURE))[FRONT]
    away = points[:, None] - posed.starts
    at = np.clip((away * bones).sum(axis=2) / np.maximum(lengths, 1.0) ** 2, 0.0, 1.0)
    within = np.hypot(*np.moveaxis(away - at[..., None] * bones, 2, 0)) < radii
    shares = within.reshape(_SAMPLES, len(FRONT), -1).mean(axis=0)
    found = areas @ shares / np.maximum(lengths * radii, 1.0)
    return np.where(BEHIND, np.minimum(found, 1.0), 0.0)


def unsure(posed: Posed) -> Floats:
    """float64 (P,), 0 to 1: how little is known of where each part is, mostly because something hides it."""
    return np.asarray(np.clip(1.0 - posed.confidence / SURE, 0.0, 1.0))


def _ends(points: Floats, ends: list[End]) -> tuple[Floats, Floats]:
    places, sure = [], []
    for end in ends:
        weights = points[end, 2]
        total = float(weights.sum())
        places.append(points[end, :2].T @ weights / total if total > 0 else np.zeros(2))
        # Of a head seen from the side, the hidden eye and ear do not make the rest of it doubtful.
        sure.append(float(weights.max() if len(end) > 2 else weights.min()))
    return np.array(places), np.array(sure)


def _bone_map(driven: Posed, reference: Posed, index: int, size: float, across: float) -> Floats:
    bone, other = driven.ends[index] - driven.starts[index], reference.ends[index] - reference.starts[index]
    length, other_length = float(np.hypot(*bone)), float(np.hypot(*other))
    shortest = _SHORTEST * driven.trunk_px
    if length < shortest or other_length < _SHORTEST * reference.trunk_px:
        linear = np.eye(2) * size
    else:
        along = size * _clip(other_length / length / size, _LARGEST_STRETCH)
        u, v = bone / length, other / other_length
        linear = along * np.outer(v, u) + across * np.outer(_normal(v), _normal(u))
    middle = (driven.starts[index] + driven.ends[index]) / 2
    target = (reference.starts[index] + reference.ends[index]) / 2
    return np.concatenate([linear, (target - linear @ middle)[:, None]], axis=1)


def _head_map(driven: Floats, reference: Floats, size: float, fallback: Floats) -> Floats:
    """The similarity that fits nose, eyes, ears and neck best (Umeyama, PAMI 1991), near the body's own scale."""
    rows = HEAD_POINTS
    weights = np.append(driven[rows, 2] * reference[rows, 2], driven[_NECK, 2].min() * reference[_NECK, 2].min())
    if (weights > 0.1).sum() < 3:
        return fallback
    a = np.vstack([driven[rows, :2], driven[_NECK, :2].mean(axis=0)])
    b = np.vstack([reference[rows, :2], reference[_NECK, :2].mean(axis=0)])
    weights = weights / weights.sum()
    from_middle, to_middle = weights @ a, weights @ b
    a, b = a - from_middle, b - to_middle
    spread = float(weights @ (a**2).sum(axis=1))
    if spread < 1e-6:
        return fallback
    dot = float(weights @ (a * b).sum(axis=1)) / spread
    cross = float(weights @ (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])) / spread
    magnitude = max(float(np.hypot(dot, cross)), 1e-6)
    change = size * _clip(magnitude / size, 1.25) / magnitude
    linear = np.array([[dot, -cross], [cross, dot]]) * change
    return np.concatenate([linear, (to_middle - linear @ from_middle)[:, None]], axis=1)


def _normal(direction: Floats) -> Floats:
    return np.array([-direction[1], direction[0]])


def _clip(value: float, most: float) -> float:
    return min(max(value, 1.0 / most), most)
