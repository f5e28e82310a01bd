"""Stick figures with known motion, as pose tracks, without pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import FACE, LEFT_HAND, RIGHT_HAND
from services.common.tracks import PoseTrack

# A person standing upright: x to the picture's right, y down, in heights from nose to ankle, feet at the origin.
_STANDING = {
    0: (0, -1.0), 1: (0.02, -1.02), 2: (-0.02, -1.02), 3: (0.05, -1.01), 4: (-0.05, -1.01),
    5: (0.12, -0.84), 6: (-0.12, -0.84), 7: (0.17, -0.66), 8: (-0.17, -0.66), 9: (0.19, -0.5), 10: (-0.19, -0.5),
    11: (0.07, -0.5), 12: (-0.07, -0.5), 13: (0.08, -0.26), 14: (-0.08, -0.26), 15: (0.08, 0.0), 16: (-0.08, 0.0),
    17: (0.11, 0.04), 19: (0.07, 0.03), 20: (-0.11, 0.04), 22: (-0.07, 0.03),
}  # fmt: skip


def standing() -> NDArray[np.float32]:
    """float32 (133, 3) in heights, confidence 1; small toes unknown, hands and face near where they belong."""
    pose = np.zeros((133, 3), np.float32)
    for index, place in _STANDING.items():
        pose[index] = (*place, 1.0)
    ring = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    pose[FACE] = np.stack([0.04 * np.cos(ring), -1.0 + 0.05 * np.sin(ring), np.ones(68)], axis=1)
    fan = np.linspace(-0.02, 0.02, 21)
    for part, wrist in ((LEFT_HAND, 9), (RIGHT_HAND, 10)):
        pose[part] = pose[wrist]
        pose[part, 0] += fan
        pose[part, 1] += np.linspace(0, 0.08, 21)
    return pose


def dancing(
    frames: int,
    *,
    height: float = 400.0,
    x: float = 320.0,
    floor: float = 600.0,
    depth: float = 0.0,
    travel: float = 0.0,
    seed: int = 0,
    width_px: int = 640,
    height_px: int = 720,
) -> PoseTrack:
    """A track of somebody who swings arms and legs.

    height: nose to ankle, px, at `floor`. depth: how far the floor's level swings, px, the height along with it as
    under a camera whose horizon is at nose height. travel: swing across, px.
    """
    rng = np.random.default_rng(seed)
    speed, phase = rng.uniform(0.15, 0.3, 4), rng.uniform(0, 6, 4)
    keypoints = np.tile(standing(), (frames, 1, 1))
    time = np.arange(frames)
    swings = np.sin(time[:, None] * speed + phase)
    for joints, amount in (([7, 9], 0.08), ([8, 10], -0.08), ([13], 0.03), ([14], -0.03)):
        keypoints[:, joints, 0] += amount * swings[:, [0]]
    for hand, wrist in ((LEFT_HAND, 9), (RIGHT_HAND, 10)):
        keypoints[:, hand, 0] += keypoints[:, [wrist], 0] - standing()[wrist, 0]
    # Nobody walks to and fro within a second: four times slower than the limbs.
    level = floor + depth * np.sin(time * speed[1] / 4 + phase[1])
    scale = height * (level - (floor - height)) / height
    keypoints[:, :, 0] = keypoints[:, :, 0] * scale[:, None] + x + travel * swings[:, [2]]
    keypoints[:, :, 1] = keypoints[:, :, 1] * scale[:, None] + level[:, None]
    keypoints[keypoints[:, :, 2] == 0] = 0
    return PoseTrack(keypoints.astype(np.float32), np.ones(frames, np.bool_), width_px, height_px)
