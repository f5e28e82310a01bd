"""The face: eyes, brows, nose and mouth as flat shapes on the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.common.synthetic.body import Dancer, Joints
from services.common.synthetic.dance import Vector


@dataclass(frozen=True)
class Shape:
    """A flat polygon: corners (N, 3) in metres, colour (3,) 0..255."""

    corners: Vector
    colour: Vector


def face_shapes(dancer: Dancer, body: Joints) -> list[Shape]:
    """The shapes of a face from back to front; none when it looks away from +z in its own frame."""
    skin, hair = np.array(dancer.outfit.skin, float), np.array(dancer.outfit.hair, float)
    shapes: list[Shape] = []

    def add(points: Vector, depth: float, colour: Vector) -> None:
        local = np.column_stack([points, depth - 2.5 * np.abs(points[:, 0]) ** 1.5])
        corners = body.head + (local * dancer.height) @ body.head_frame.T
        shapes.append(Shape(corners, colour))

    for sign in (1.0, -1.0):
        eye = sign * 0.0185
        add(_ellipse(eye, 0.008, 0.0105, 0.0085), 0.0585, skin * 0.86)
        add(_ellipse(eye, 0.008, 0.0085, 0.0050), 0.0592, np.array([240.0, 238.0, 235.0]))
        add(_ellipse(eye, 0.008, 0.0042, 0.0046), 0.0596, np.array([58.0, 40.0, 30.0]))
        brow = np.array([[0.008, 0.0195], [0.019, 0.0235], [0.029, 0.0195], [0.029, 0.0165], [0.019, 0.020],
                         [0.008, 0.016]])  # fmt: skip
        add(brow * [sign, 1.0], 0.0592, hair * 0.8)
        add(_ellipse(sign * 0.024, -0.018, 0.011, 0.008), 0.0570, skin * [1.0, 0.90, 0.88])
    bridge = np.array([[-0.0035, 0.010], [0.0035, 0.010], [0.008, -0.012], [0.0, -0.0165], [-0.008, -0.012]])
    add(bridge, 0.0630, np.minimum(skin * 1.07, 255))
    add(np.array([[-0.0085, -0.0115], [0.0085, -0.0115], [0.0, -0.0185]]), 0.0632, skin * 0.72)
    add(_ellipse(0.0, -0.0345, 0.0155, 0.0060), 0.0555, np.array([176.0, 82.0, 80.0]))
    add(np.array([[-0.0135, -0.034], [0.0135, -0.034], [0.0, -0.0362]]), 0.0558, np.array([96.0, 36.0, 38.0]))
    return shapes


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> Vector:
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    return np.column_stack([x + half_width * np.cos(turn), y + half_height * np.sin(turn)])
