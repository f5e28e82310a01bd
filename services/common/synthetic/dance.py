"""Choreography: joint angles over time, the same for every body.

A dance is a seeded row of figures, one a beat, joined smoothly, with a bounce on the beat. Angles are radians, and
positions on the floor are fractions of the dancer's own room to move, so that the same dance can truly be danced by
another body: that is the ground truth of a transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

ANGLES: Final = (
    "side", "near", "jump", "yaw", "hip_roll", "spine_roll", "spine_pitch", "spine_twist",
    "head_yaw", "head_pitch", "head_roll",
    "left_raise", "left_forward", "left_twist", "left_elbow",
    "right_raise", "right_forward", "right_twist", "right_elbow",
    "left_spread", "left_lift", "left_knee", "right_spread", "right_lift", "right_knee",
)  # fmt: skip
"""side, near: place on the floor, -1..1 (right of the picture, towards the camera). jump: fraction of the height.
raise, forward, twist, elbow: an arm's sideways lift (0 hangs, pi points up), swing to the front, turn about itself and
elbow. spread, lift, knee: a leg's sideways and frontal lift and knee. yaw turns the whole body to its left."""

_INDEX: Final = {name: index for index, name in enumerate(ANGLES)}
_REST: Final = {"left_raise": 0.18, "right_raise": 0.18, "left_elbow": 0.25, "right_elbow": 0.25,
                "left_spread": 0.09, "right_spread": 0.09}  # fmt: skip

_FIGURES: Final[tuple[dict[str, float], ...]] = (
    {"left_raise": 1.5, "right_raise": 1.5, "left_elbow": 0.1, "right_elbow": 0.1, "left_spread": 0.3,
     "right_spread": 0.3},
    {"left_raise": 2.6, "right_raise": 2.6, "left_elbow": 0.35, "right_elbow": 0.35, "spine_pitch": -0.08},
    {"left_raise": 2.5, "right_raise": 0.5, "right_elbow": 1.6, "right_twist": -1.2, "spine_roll": 0.16,
     "head_roll": 0.12, "right_spread": 0.35},
    {"right_raise": 2.5, "left_raise": 0.5, "left_elbow": 1.6, "left_twist": -1.2, "spine_roll": -0.16,
     "head_roll": -0.12, "left_spread": 0.35},
    {"left_raise": 1.35, "left_elbow": 1.5, "left_twist": 1.45, "right_raise": 1.35, "right_elbow": 1.5,
     "right_twist": -1.45, "hip_roll": 0.07, "spine_twist": 0.2},
    {"left_raise": 1.35, "left_elbow": 1.5, "left_twist": -1.45, "right_raise": 1.35, "right_elbow": 1.5,
     "right_twist": 1.45, "hip_roll": -0.07, "spine_twist": -0.2},
    {"left_raise": 0.75, "right_raise": 0.75, "left_elbow": 1.75, "right_elbow": 1.75, "left_twist": -1.3,
     "right_twist": -1.3, "left_spread": 0.32, "right_spread": 0.32, "left_lift": 0.45, "right_lift": 0.45,
     "left_knee": 0.8, "right_knee": 0.8, "spine_pitch": 0.15},
    {"left_lift": 0.95, "left_knee": 1.25, "left_raise": 0.9, "right_raise": 1.7, "right_elbow": 0.5,
     "spine_roll": -0.08},
    {"right_lift": 0.95, "right_knee": 1.25, "right_raise": 0.9, "left_raise": 1.7, "left_elbow": 0.5,
     "spine_roll": 0.08},
    {"yaw": 0.5, "left_raise": 1.2, "right_raise": 1.0, "left_elbow": 0.9, "right_elbow": 0.4, "left_forward": 0.5,
     "head_yaw": -0.3, "left_spread": 0.3},
    {"yaw": -0.5, "right_raise": 1.2, "left_raise": 1.0, "right_elbow": 0.9, "left_elbow": 0.4, "right_forward": 0.5,
     "head_yaw": 0.3, "right_spread": 0.3},
    {"left_forward": 1.1, "right_forward": 1.1, "left_raise": 0.45, "right_raise": 0.45, "left_elbow": 0.5,
     "right_elbow": 0.5, "left_lift": 0.25, "left_knee": 0.45},
    {"left_spread": 0.62, "right_spread": 0.12, "right_knee": 0.35, "right_lift": 0.2, "left_raise": 2.1,
     "right_raise": 1.1, "spine_roll": -0.2, "side": 0.1},
    {"right_spread": 0.62, "left_spread": 0.12, "left_knee": 0.35, "left_lift": 0.2, "right_raise": 2.1,
     "left_raise": 1.1, "spine_roll": 0.2, "side": -0.1},
)  # fmt: skip
"""Figures of one beat; what a figure does not name is at rest."""

_SIDE_STEPS: Final = (0.0, 0.4, 0.0, -0.4)
_NEAR_STEPS: Final = (-1.0, -0.4, 0.3, 1.0, 0.5, 0.0, -0.6)
"""Every dance goes all the way back and all the way to the front, so that the ends of the floor are well defined."""


def angle(posture: Vector, name: str) -> float:
    """One angle of a posture by its name."""
    return float(posture[_INDEX[name]])


@dataclass(frozen=True)
class Dance:
    """A choreography. The same seed is the same dance."""

    seed: int
    beats_per_minute: float = 108.0
    vigour: float = 1.0
    """Scales bounce and jump."""

    @property
    def beat_seconds(self) -> float:
        return 60.0 / self.beats_per_minute

    def posture(self, seconds: float) -> Vector:
        """Angles (len(ANGLES),) float64 at a time."""
        beat = seconds / self.beat_seconds
        whole = int(np.floor(beat))
        phase = beat - whole
        # A figure is reached at 70 % of its beat and held: that is what makes it look danced and not swum.
        eased = min(1.0, phase / 0.7)
        eased = eased * eased * (3.0 - 2.0 * eased)
        before, after = self._figure(whole), self._figure(whole + 1)
        posture = before + (after - before) * eased
        bounce = 0.5 - 0.5 * np.cos(2.0 * np.pi * phase)
        for side in ("left", "right"):
            posture[_INDEX[f"{side}_lift"]] += 0.10 * self.vigour * bounce
            posture[_INDEX[f"{side}_knee"]] += 0.22 * self.vigour * bounce
            posture[_INDEX[f"{side}_elbow"]] += 0.12 * bounce
        posture[_INDEX["head_pitch"]] += 0.06 * bounce
        posture[_INDEX["hip_roll"]] += 0.05 * np.sin(np.pi * beat)
        if whole % 8 == 5:
            posture[_INDEX["jump"]] += 0.05 * self.vigour * max(0.0, np.sin(np.pi * phase)) ** 2
        return posture

    def _figure(self, beat: int) -> Vector:
        generator = np.random.default_rng((self.seed, beat // len(_FIGURES)))
        order = generator.permutation(len(_FIGURES))
        figure = dict(_REST) | _FIGURES[int(order[beat % len(_FIGURES)])]
        posture = np.array([figure.get(name, 0.0) for name in ANGLES])
        shift = self.seed % 7
        posture[_INDEX["side"]] += _SIDE_STEPS[(beat + shift) % len(_SIDE_STEPS)]
        posture[_INDEX["near"]] += _NEAR_STEPS[(beat + shift) % len(_NEAR_STEPS)]
        return posture
