"""The conditioning: a person's keypoints drawn as soft lines, one channel per bone, on the device that trains.

A stroke is a line segment between two points, each the mean of one or two keypoints (the neck is the mean of both
shoulders). The strokes of one channel are merged by their maximum. A channel's value at distance d px from a stroke is
`min(1, confidence / 0.25) * exp(-d^2 / (2 sigma^2))`: anti-aliased, differentiable in the keypoints, and smooth enough
to carry the position to a fraction of a pixel even when drawn at half the picture's resolution.

From a quarter on, confidence makes no difference. A film that shows every limb clearly teaches a network nothing of
faint strokes: a forearm of another dance, blurred by its motion, would be taken for none.

Left and right limbs have channels of their own, so that the network need not guess which leg is in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

# An end of a stroke: the keypoint indices (COCO-WholeBody) whose mean it is.
End = tuple[int, ...]

_NECK: End = (5, 6)
_HAND_ROOTS = {"left": 91, "right": 112}
_FINGERS = ("thumb", "index", "middle", "ring", "little")


@dataclass(frozen=True)
class Channel:
    """One plane of the conditioning.

    Attributes:
        name: for pictures and tests.
        strokes: pairs of ends; several strokes share the plane by their maximum.
        fine: whether it is drawn with the thin line (fingers, face) instead of the thick one.
    """

    name: str
    strokes: tuple[tuple[End, End], ...]
    fine: bool = False


def _chain(*points: int) -> tuple[tuple[End, End], ...]:
    return tuple(((a,), (b,)) for a, b in pairwise(points))


def _bone(name: str, a: End | int, b: End | int) -> Channel:
    ends = [(end,) if isinstance(end, int) else end for end in (a, b)]
    return Channel(name, ((ends[0], ends[1]),))


def _channels() -> tuple[Channel, ...]:
    body = (
        _bone("shoulders", 5, 6),
        _bone("hips", 11, 12),
        _bone("left_side", 5, 11),
        _bone("right_side", 6, 12),
        _bone("left_upper_arm", 5, 7),
        _bone("left_forearm", 7, 9),
        _bone("right_upper_arm", 6, 8),
        _bone("right_forearm", 8, 10),
        _bone("left_thigh", 11, 13),
        _bone("left_shin", 13, 15),
        _bone("right_thigh", 12, 14),
        _bone("right_shin", 14, 16),
        # Through the middle of the trunk: by its outline alone, one of other proportions than the film's has holes.
        _bone("spine", _NECK, (11, 12)),
        Channel("diagonals", (((5,), (12,)), ((6,), (11,)))),
        _bone("neck", _NECK, 0),
        _bone("left_eye", 0, 1),
        _bone("right_eye", 0, 2),
        _bone("left_ear", 1, 3),
        _bone("right_ear", 2, 4),
        _bone("left_heel", 15, 19),
        _bone("left_sole", 19, 17),
        _bone("left_toes", 17, 18),
        _bone("right_heel", 16, 22),
        _bone("right_sole", 22, 20),
        _bone("right_toes", 20, 21),
    )
    fingers = tuple(
        Channel(f"{side}_{finger}", _chain(root, *range(root + 1 + 4 * i, root + 5 + 4 * i)), fine=True)
        for side, root in _HAND_ROOTS.items()
        for i, finger in enumerate(_FINGERS)
    )
    face = (
        Channel("contour", _chain(*range(23, 40, 2)), fine=True),
        Channel("brows", _chain(40, 42, 44) + _chain(45, 47, 49), fine=True),
        Channel("nose", _chain(50, 53) + _chain(54, 56, 58), fine=True),
        Channel("eyes", _chain(59, 61, 62, 64, 59) + _chain(65, 67, 68, 70, 65), fine=True),
        Channel("mouth", _chain(71, 73, 75, 77, 79, 81, 71), fine=True),
    )
    return body + fingers + face


CHANNELS: tuple[Channel, ...] = _channels()

KEYPOINTS = 133
_KNOWN = 0.25
_LEAST_EXPONENT = -30.0


class Strokes(nn.Module):
    """Draws keypoints (N, 133, 3) as `len(CHANNELS)` soft planes.

    Args:
        sigma_px: width of the body's lines, the standard deviation across them in window px.
        fine_sigma_px: the same for fingers and face.

    The drawing has no learnt parameters; its tables are buffers, so that it travels to the device and into ONNX.
    """

    ends: Tensor
    sharpness: Tensor
    restore: Tensor

    def __init__(self, sigma_px: float, fine_sigma_px: float) -> None:
        super().__init__()
        if sigma_px <= 0 or fine_sigma_px <= 0:
            raise ValueError(f"line widths must be positive, got {sigma_px} and {fine_sigma_px} px")
        # Channels with equally many strokes are drawn as one block, and every block's maximum is taken at once:
        # a handful of large operations instead of one small one per channel, which a CPU would spend its time calling.
        order = sorted(range(len(CHANNELS)), key=lambda i: (len(CHANNELS[i].strokes), i))
        sizes = [len(CHANNELS[i].strokes) for i in order]
        self._blocks = [(size, sizes.count(size)) for size in sorted(set(sizes))]
        strokes = [(stroke, CHANNELS[i].fine) for i in order for stroke in CHANNELS[i].strokes]
        ends = torch.zeros(2, len(strokes), KEYPOINTS)
        for row, (stroke, _) in enumerate(strokes):
            for side, end in enumerate(stroke):
                ends[side, row, list(end)] = 1.0 / len(end)
        sigmas = torch.tensor([fine_sigma_px if fine else sigma_px for _, fine in strokes])
        self.register_buffer("ends", ends, persistent=False)
        self.register_buffer("sharpness", 0.5 / sigmas.square(), persistent=False)
        restore = torch.empty(len(order), dtype=torch.long)
        restore[torch.tensor(order)] = torch.arange(len(order))
        self.register_buffer("restore", restore, persistent=False)

    def forward(self, keypoints: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """Draws.

        Args:
            keypoints: float (N, 133, 3), x px, y px of the window, confidence 0..1.
            columns: float (W,), the x of the pixel centres to draw at, window px.
            rows: float (H,), the y of the pixel centres.

        Returns:
            float (N, len(CHANNELS), H, W) in 0..1.
        """
        start, stop = self.ends[0] @ keypoints, self.ends[1] @ keypoints  # (N, S, 3)
        x, y, confidence = start[..., 0], start[..., 1], torch.minimum(start[..., 2], stop[..., 2])
        strength = (confidence * (1.0 / _KNOWN)).clamp(1e-9, 1.0)
        dx, dy = stop[..., 0] - x, stop[..., 1] - y
        # A stroke of no length is a dot; the small constant keeps the division (and its gradient) finite.
        square = dx.square() + dy.square() + 1e-6
        from_x, from_y = columns - x[..., None], rows - y[..., None]  # (N, S, W), (N, S, H)
        # With p the vector from the stroke's start to the pixel, d the stroke, s = p.d / |d|^2 and t = clamp(s):
        # |p - t d|^2 = |p|^2 + |d|^2 t (t - 2 s). Only s, t and that sum are as large as the picture.
        s = (from_y * (dy / square)[..., None])[..., :, None] + (from_x * (dx / square)[..., None])[..., None, :]
        t = s.clamp(0.0, 1.0)
        k = -self.sharpness
        exponent = (t - 2.0 * s) * t * (k * square)[..., None, None]
        exponent = exponent + (from_y.square() * k[:, None])[..., :, None]
        exponent = exponent + (from_x.square() * k[:, None])[..., None, :]
        exponent = exponent + strength.log()[..., None, None]
        merged, row = [], 0
        for size, count in self._blocks:
            block = exponent[:, row : row + size * count]
            row += size * count
            if size > 1:
                block = block.view(block.shape[0], count, size, *block.shape[2:]).amax(dim=2)
            merged.append(block)
        # Far from a stroke the value would be less than what a float can hold, which processors compute slowly.
        return torch.cat(merged, dim=1)[:, self.restore].clamp(_LEAST_EXPONENT, 0.0).exp()
