"""A dancer's body: proportions, clothes, and where its joints are for a posture.

World frame: x to the right of the picture, y up, z towards the camera; metres; the floor is y = 0. A dancer with yaw 0
faces the camera, so the left side of the body has positive x.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.common.synthetic.dance import Vector, angle

Colour = tuple[int, int, int]
"""RGB, 0..255."""


@dataclass(frozen=True)
class Outfit:
    """What the dancer looks like."""

    skin: Colour
    hair: Colour
    top: Colour
    top_stripe: Colour
    stripes: int
    """Stripes on the top; 0 for none."""
    sleeve: float
    """Part of the arm that the sleeve covers: 0.5 ends at the elbow."""
    trousers: Colour
    trouser_leg: float
    """Part of the leg that the trousers cover: 0.5 ends at the knee."""
    shoes: Colour
    long_hair: bool = False


@dataclass(frozen=True)
class Dancer:
    """One person. Lengths are metres."""

    name: str
    height: float
    outfit: Outfit
    leg: float = 0.47
    """Hip joint to sole, fraction of the height."""
    arm: float = 0.33
    """Shoulder to wrist, fraction of the height."""
    shoulders: float = 0.225
    """Distance of the shoulder joints, fraction of the height."""
    hips: float = 0.11
    """Distance of the hip joints, fraction of the height."""
    girth: float = 1.0
    """Scales all thicknesses."""
    texture_seed: int = field(default=0)


@dataclass(frozen=True)
class Limb:
    """Three joints of an arm or leg, the frames of its two bones, and the frame of its hand or foot."""

    root: Vector
    middle: Vector
    end: Vector
    upper: Vector
    lower: Vector
    tip: Vector


@dataclass(frozen=True)
class Joints:
    """Where a body is: positions (3,) in metres, frames (3, 3) whose columns are the body's left, up and front."""

    pelvis: Vector
    pelvis_frame: Vector
    neck: Vector
    spine_frame: Vector
    head: Vector
    """Centre of the skull."""
    head_frame: Vector
    arms: dict[str, Limb]
    legs: dict[str, Limb]


def _turn_x(by: float) -> Vector:
    c, s = np.cos(by), np.sin(by)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _turn_y(by: float) -> Vector:
    c, s = np.cos(by), np.sin(by)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _turn_z(by: float) -> Vector:
    c, s = np.cos(by), np.sin(by)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


_DOWN = np.array([0.0, -1.0, 0.0])
_SIDES = {"left": 1.0, "right": -1.0}


def joints(dancer: Dancer, posture: Vector, floor_x: float, floor_z: float) -> Joints:
    """The body in a posture with its lowest sole on the floor (or above it by its jump), around (floor_x, floor_z)."""
    h = dancer.height
    pelvis_frame = _turn_y(angle(posture, "yaw")) @ _turn_z(angle(posture, "hip_roll"))
    spine_frame = (
        pelvis_frame
        @ _turn_y(angle(posture, "spine_twist"))
        @ _turn_z(angle(posture, "spine_roll"))
        @ _turn_x(angle(posture, "spine_pitch"))
    )
    head_frame = (
        spine_frame
        @ _turn_y(angle(posture, "head_yaw"))
        @ _turn_z(angle(posture, "head_roll"))
        @ _turn_x(angle(posture, "head_pitch"))
    )
    pelvis = np.array([floor_x, 0.0, floor_z])
    legs = {side: _leg(dancer, posture, side, pelvis, pelvis_frame) for side in _SIDES}
    lowest = min(_sole(leg, h) for leg in legs.values())
    lift = np.array([0.0, angle(posture, "jump") * h - lowest, 0.0])
    pelvis = pelvis + lift
    legs = {side: _leg(dancer, posture, side, pelvis, pelvis_frame) for side in _SIDES}
    torso = (1.0 - dancer.leg - 0.185) * h
    neck = pelvis + spine_frame @ np.array([0.0, torso, 0.0])
    head = neck + head_frame @ np.array([0.0, 0.115 * h, 0.012 * h])
    arms = {side: _arm(dancer, posture, side, neck, spine_frame) for side in _SIDES}
    return Joints(pelvis, pelvis_frame, neck, spine_frame, head, head_frame, arms, legs)


def _arm(dancer: Dancer, posture: Vector, side: str, neck: Vector, spine: Vector) -> Limb:
    h, sign = dancer.height, _SIDES[side]
    raised = angle(posture, f"{side}_raise")
    # The shoulder joint rises with the arm.
    shrug = 0.02 * max(0.0, raised - 1.2)
    root = neck + spine @ np.array([sign * (dancer.shoulders / 2 - 0.3 * shrug), -0.035 + shrug, 0.0]) * [h, h, h]
    upper = (
        spine
        @ _turn_x(-angle(posture, f"{side}_forward"))
        @ _turn_z(sign * raised)
        @ _turn_y(sign * angle(posture, f"{side}_twist"))
    )
    lower = upper @ _turn_x(-angle(posture, f"{side}_elbow"))
    middle = root + upper @ _DOWN * (0.53 * dancer.arm * h)
    return Limb(root, middle, middle + lower @ _DOWN * (0.47 * dancer.arm * h), upper, lower, lower)


def _leg(dancer: Dancer, posture: Vector, side: str, pelvis: Vector, frame: Vector) -> Limb:
    h, sign = dancer.height, _SIDES[side]
    root = pelvis + frame @ np.array([sign * dancer.hips / 2 * h, 0.0, 0.0])
    lift = angle(posture, f"{side}_lift")
    # Feet point outwards a little.
    upper = frame @ _turn_x(-lift) @ _turn_z(sign * angle(posture, f"{side}_spread")) @ _turn_y(sign * 0.2)
    lower = upper @ _turn_x(angle(posture, f"{side}_knee"))
    bones = (dancer.leg - 0.045) * h
    middle = root + upper @ _DOWN * (0.51 * bones)
    end = middle + lower @ _DOWN * (0.49 * bones)
    front = lower @ np.array([0.0, 0.0, 1.0])
    droop = 0.5 * max(0.0, lift - 0.5)
    turn = float(np.arctan2(front[0], front[2]))
    return Limb(root, middle, end, upper, lower, _turn_y(turn) @ _turn_x(droop))


def _sole(leg: Limb, height: float) -> float:
    """Height of a foot's lowest point."""
    heel = leg.end + leg.tip @ np.array([0.0, -0.045 * height, -0.03 * height])
    toe = leg.end + leg.tip @ np.array([0.0, -0.045 * height, 0.105 * height])
    return float(min(heel[1], toe[1]))


KEYPOINTS = 23
"""COCO's 17 of the body and the 6 of the feet, in COCO-WholeBody's order."""


def keypoints(dancer: Dancer, body: Joints) -> Vector:
    """True positions (23, 3) of the keypoints, metres."""
    h = dancer.height
    at: list[Vector] = []

    def on_head(x: float, y: float, z: float) -> None:
        at.append(body.head + body.head_frame @ np.array([x, y, z]) * h)

    on_head(0.0, -0.008, 0.068)
    on_head(0.0185, 0.008, 0.052)
    on_head(-0.0185, 0.008, 0.052)
    on_head(0.046, -0.002, 0.0)
    on_head(-0.046, -0.002, 0.0)
    for limbs in (body.arms, body.legs):
        for joint in ("root", "middle", "end"):
            at.extend(getattr(limbs[side], joint) for side in _SIDES)
    order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    points = [at[index] for index in order]
    for side, sign in _SIDES.items():
        leg = body.legs[side]
        for x, z in ((-0.012, 0.1), (0.025, 0.085), (0.0, -0.028)):
            points.append(leg.end + leg.tip @ np.array([sign * x, -0.035, z]) * h)
    return np.array(points)
