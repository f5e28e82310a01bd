"""The dancer's surface: rings of points joined to quadrilaterals, each with a colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.common.synthetic.body import Colour, Dancer, Joints, Limb
from services.common.synthetic.dance import Vector

_SIDES = 18
_WEAVE = 0.03
"""How much the colour of a patch of cloth or skin differs from its neighbour's."""

Paint = Callable[[Vector, Vector], Vector]
"""Colours (..., 3) of places on a part: along it (0..1) and around it (radians, 0 at the body's front)."""


@dataclass(frozen=True)
class Patches:
    """Quadrilaterals: corners (N, 4, 3) in metres, outward unit normals (N, 3), colours (N, 3) 0..255, and by how many
    metres each is taken to be nearer than it is (N,), so that cloth lies over what it covers."""

    corners: Vector
    normals: Vector
    colours: Vector
    nearer: Vector

    def take(self, chosen: Vector) -> Patches:
        """Some of the patches."""
        return Patches(self.corners[chosen], self.normals[chosen], self.colours[chosen], self.nearer[chosen])

    def over(self, metres: float) -> Patches:
        """The same patches, taken to be nearer."""
        return replace(self, nearer=self.nearer + metres)


def plain(colour: Colour) -> Paint:
    """One colour everywhere."""
    return lambda along, _around: np.broadcast_to(np.array(colour, float), (*along.shape, 3))


def split(first: Colour, second: Colour, at: float) -> Paint:
    """One colour up to `at`, another after it."""
    return lambda along, _around: np.where((along < at)[..., None], np.array(first, float), np.array(second, float))


def striped(base: Colour, stripe: Colour, count: int) -> Paint:
    """Rings of a second colour."""
    if not count:
        return plain(base)
    return lambda along, _around: np.where(
        ((along * count) % 1.0 < 0.4)[..., None], np.array(stripe, float), np.array(base, float)
    )


def tube(
    start: Vector,
    end: Vector,
    frames: tuple[Vector, Vector],
    profile: Sequence[tuple[float, float, float]],
    paint: Paint,
    rng: np.random.Generator,
    rings: int = 14,
) -> Patches:
    """A body part between two points. `profile` lists (place 0..1, half width, half depth); the widths lie along the
    frames' first and third axes, which turn from the first frame to the second."""
    t = np.linspace(0.0, 1.0, rings)
    places, widths, depths = (np.array(column) for column in zip(*profile, strict=True))
    width, depth = np.interp(t, places, widths), np.interp(t, places, depths)
    around = np.linspace(0.0, 2 * np.pi, _SIDES, endpoint=False)
    centre = start + t[:, None] * (end - start)
    mixed = frames[0][None] * (1 - t)[:, None, None] + frames[1][None] * t[:, None, None]
    ring = (
        centre[:, None]
        + mixed[:, None, :, 0] * (width[:, None] * np.sin(around))[..., None]
        + mixed[:, None, :, 2] * (depth[:, None] * np.cos(around))[..., None]
    )
    return _patches(ring, t, around, paint, rng)


def ball(
    centre: Vector, frame: Vector, radii: tuple[float, float, float], paint: Paint, rng: np.random.Generator
) -> Patches:
    """An ellipsoid with half axes along the frame; `along` runs from its top to its bottom."""
    t = np.linspace(0.0, 1.0, 13)
    around = np.linspace(0.0, 2 * np.pi, _SIDES, endpoint=False)
    height, reach = np.cos(np.pi * t), np.sin(np.pi * t)
    local = np.stack(
        [
            radii[0] * reach[:, None] * np.sin(around),
            radii[1] * np.repeat(height[:, None], _SIDES, axis=1),
            radii[2] * reach[:, None] * np.cos(around),
        ],
        axis=-1,
    )
    return _patches(centre + local @ frame.T, t, around, paint, rng)


def _patches(ring: Vector, t: Vector, around: Vector, paint: Paint, rng: np.random.Generator) -> Patches:
    following = np.roll(ring, -1, axis=1)
    corners = np.stack([ring[:-1], following[:-1], following[1:], ring[1:]], axis=2).reshape(-1, 4, 3)
    along, angle = np.meshgrid((t[:-1] + t[1:]) / 2, around + np.pi / _SIDES, indexing="ij")
    colours = np.asarray(paint(along, angle)).reshape(-1, 3)
    weave = 1.0 + _WEAVE * rng.standard_normal((len(colours), 1))
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 3])
    middles = ring.mean(axis=1)
    inside = np.repeat((middles[:-1] + middles[1:]) / 2, ring.shape[1], axis=0)
    outward = np.einsum("ij,ij->i", normals, corners.mean(axis=1) - inside)
    # A tube may run either way along its frame, so the turn of its corners says nothing.
    normals *= np.where(outward < 0, -1.0, 1.0)[:, None]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Patches(corners, normals, colours * weave, np.zeros(len(corners)))


def body_surface(dancer: Dancer, body: Joints) -> Patches:
    """All of a dancer but the face."""
    rng = np.random.default_rng(dancer.texture_seed)
    parts = [*_torso(dancer, body, rng), *_head(dancer, body, rng)]
    for side in ("left", "right"):
        parts += _arm(dancer, body.arms[side], 1.0 if side == "left" else -1.0, rng)
        parts += _leg(dancer, body.legs[side], rng)
    return Patches(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.colours for part in parts]),
        np.concatenate([part.nearer for part in parts]),
    )


def _torso(dancer: Dancer, body: Joints, rng: np.random.Generator) -> list[Patches]:
    h, g, outfit = dancer.height, dancer.girth * dancer.height, dancer.outfit
    wide, hip = dancer.shoulders * h / 2, dancer.hips * h / 2
    frames = (body.pelvis_frame, body.spine_frame)
    low = body.pelvis - body.pelvis_frame[:, 1] * 0.035 * h
    high = body.neck + body.spine_frame[:, 1] * 0.004 * h
    waist = body.pelvis + (body.neck - body.pelvis) * 0.14
    profile = [
        (0.0, hip + 0.056 * g, 0.074 * g), (0.18, hip + 0.050 * g, 0.068 * g), (0.42, hip + 0.030 * g, 0.057 * g),
        (0.70, wide * 0.86, 0.066 * g), (0.86, wide * 0.98, 0.060 * g), (0.95, wide * 0.80, 0.046 * g),
        (1.0, wide * 0.34, 0.030 * g),
    ]  # fmt: skip
    shirt = tube(low, high, frames, profile, striped(outfit.top, outfit.top_stripe, outfit.stripes), rng, rings=26)
    seat = [(0.0, 0.6 * hip, 0.03 * g), (0.3, hip + 0.041 * g, 0.064 * g), (1.0, hip + 0.043 * g, 0.065 * g)]
    trousers = tube(low - body.pelvis_frame[:, 1] * 0.03 * h, waist, frames, seat, plain(outfit.trousers), rng)
    throat = [(0.0, 0.040 * g, 0.036 * g), (0.3, 0.030 * g, 0.030 * g), (1.0, 0.028 * g, 0.028 * g)]
    nape = body.neck - body.spine_frame[:, 1] * 0.02 * h
    neck = tube(nape, body.head, (body.spine_frame, body.head_frame), throat, plain(outfit.skin), rng)
    return [shirt.over(0.05), trousers, neck]


def _head(dancer: Dancer, body: Joints, rng: np.random.Generator) -> list[Patches]:
    h, outfit, frame = dancer.height, dancer.outfit, body.head_frame
    skull = ball(body.head, frame, (0.045 * h, 0.062 * h, 0.055 * h), plain(outfit.skin), rng)
    jaw = ball(body.head + frame @ np.array([0, -0.022, 0.012]) * h, frame, (0.036 * h, 0.044 * h, 0.040 * h),
               plain(outfit.skin), rng)  # fmt: skip
    parts = [skull, jaw]
    for sign in (1.0, -1.0):
        ear = body.head + frame @ np.array([sign * 0.045, -0.004, -0.002]) * h
        parts.append(ball(ear, frame, (0.006 * h, 0.014 * h, 0.009 * h), plain(outfit.skin), rng))
    cap = ball(body.head + frame @ np.array([0, 0.008, -0.008]) * h, frame, (0.0495 * h, 0.063 * h, 0.056 * h),
               plain(outfit.hair), rng)  # fmt: skip
    # The hair lies above a line that falls from the forehead to the nape.
    local = (cap.corners.mean(axis=1) - body.head) @ frame / h
    kept = local[:, 1] > 0.030 * np.clip(local[:, 2] / 0.05, -2.2, 1.0) + 0.004
    parts.append(cap.take(kept).over(0.02))
    if outfit.long_hair:
        fall = body.head + frame @ np.array([0, -0.055, -0.035]) * h
        parts.append(ball(fall, frame, (0.046 * h, 0.080 * h, 0.024 * h), plain(outfit.hair), rng))
    return parts


def _arm(dancer: Dancer, limb: Limb, sign: float, rng: np.random.Generator) -> list[Patches]:
    g, h, outfit = dancer.girth * dancer.height, dancer.height, dancer.outfit
    upper_paint = plain(outfit.top) if outfit.sleeve >= 0.5 else split(outfit.top, outfit.skin, 2 * outfit.sleeve)
    lower_paint = split(outfit.top, outfit.skin, 2 * outfit.sleeve - 1) if outfit.sleeve > 0.5 else plain(outfit.skin)
    thick = 1.12 if outfit.sleeve > 0.5 else 1.0
    upper = tube(limb.root, limb.middle, (limb.upper, limb.upper),
                 [(0, 0.030 * g, 0.030 * g), (0.3, 0.029 * g, 0.030 * g), (1, 0.022 * g, 0.022 * g)],
                 upper_paint, rng)  # fmt: skip
    lower = tube(limb.middle, limb.end, (limb.lower, limb.lower),
                 [(0, 0.022 * g, 0.022 * g), (0.25, 0.0235 * g, 0.0235 * g), (1, 0.0145 * g, 0.013 * g)],
                 lower_paint, rng)  # fmt: skip
    shoulder = ball(limb.root, limb.upper, (0.031 * g, 0.031 * g, 0.031 * g), plain(outfit.top), rng)
    elbow_colour = outfit.top if outfit.sleeve > 0.5 else outfit.skin
    elbow = ball(limb.middle, limb.lower, (0.0222 * g * thick,) * 3, plain(elbow_colour), rng)
    return [shoulder, upper, elbow, lower, *_hand(limb, sign, h, plain(outfit.skin), rng)]


def _hand(limb: Limb, sign: float, h: float, paint: Paint, rng: np.random.Generator) -> list[Patches]:
    # The palm faces the body: fingers lie side by side along the frame's third axis.
    def at(x: float, y: float, z: float) -> Vector:
        place: Vector = limb.end + limb.tip @ np.array([sign * x, y, z]) * h
        return place

    parts = [ball(at(0, -0.026, 0), limb.tip, (0.009 * h, 0.029 * h, 0.022 * h), paint, rng)]
    for z, length in ((0.0165, 0.036), (0.006, 0.041), (-0.0045, 0.038), (-0.0145, 0.030)):
        parts.append(_finger(at(0, -0.045, z), at(-0.006, -0.045 - length, z * 1.3), limb.tip, h, paint, rng))
    parts.append(_finger(at(0, -0.016, 0.018), at(-0.004, -0.042, 0.037), limb.tip, h, paint, rng))
    return parts


def _finger(start: Vector, end: Vector, frame: Vector, h: float, paint: Paint, rng: np.random.Generator) -> Patches:
    r = 0.0056 * h
    return tube(
        start, end, (frame, frame), [(0, r, r), (0.8, 0.85 * r, 0.85 * r), (1, 0.2 * r, 0.2 * r)], paint, rng, 5
    )


def _leg(dancer: Dancer, limb: Limb, rng: np.random.Generator) -> list[Patches]:
    g, h, outfit = dancer.girth * dancer.height, dancer.height, dancer.outfit
    cover = outfit.trouser_leg
    upper_paint = plain(outfit.trousers) if cover >= 0.5 else split(outfit.trousers, outfit.skin, 2 * cover)
    lower_paint = split(outfit.trousers, outfit.skin, 2 * cover - 1) if cover > 0.5 else plain(outfit.skin)
    knee_colour = outfit.trousers if cover > 0.5 else outfit.skin
    upper = tube(limb.root, limb.middle, (limb.upper, limb.upper),
                 [(0, 0.052 * g, 0.055 * g), (0.3, 0.050 * g, 0.053 * g), (1, 0.033 * g, 0.034 * g)],
                 upper_paint, rng)  # fmt: skip
    lower = tube(limb.middle, limb.end, (limb.lower, limb.lower),
                 [(0, 0.033 * g, 0.034 * g), (0.3, 0.033 * g, 0.036 * g), (1, 0.021 * g, 0.022 * g)],
                 lower_paint, rng)  # fmt: skip
    knee = ball(limb.middle, limb.lower, (0.033 * g, 0.033 * g, 0.034 * g), plain(knee_colour), rng)
    hip = ball(limb.root, limb.upper, (0.052 * g, 0.052 * g, 0.056 * g), plain(outfit.trousers), rng)
    heel = limb.end + limb.tip @ np.array([0, -0.024, -0.022]) * h
    toe = limb.end + limb.tip @ np.array([0, -0.033, 0.100]) * h
    # A shoe runs forward: its frame's second axis is the foot's front.
    frame = np.stack([limb.tip[:, 0], limb.tip[:, 2], limb.tip[:, 1]], axis=1)
    shoe = tube(heel, toe, (frame, frame),
                [(0, 0.014 * h, 0.012 * h), (0.1, 0.022 * h, 0.024 * h), (0.4, 0.024 * h, 0.022 * h),
                 (0.8, 0.027 * h, 0.014 * h), (1, 0.012 * h, 0.008 * h)],
                plain(outfit.shoes), rng, rings=10)  # fmt: skip
    ankle = ball(limb.end + limb.tip @ np.array([0, -0.008, -0.004]) * h, limb.lower, (0.023 * h, 0.026 * h, 0.026 * h),
                 plain(outfit.shoes), rng)  # fmt: skip
    return [hip, upper, knee, lower, shoe, ankle]
