"""Body parts of reference frames, moved into another pose and merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.camera import compose, invert
from services.common.puppet.choose import choose_references
from services.common.puppet.parts import PARTS, Posed, part_maps, pose_parts, trunk_length, turn_between

Floats = NDArray[np.float32]

# How sharply a pixel belongs to the nearest bone rather than to the next, distances taken in radii.
_SHARPNESS = 1.5
# A part is cut out as far from its bone as this many radii.
_REACH = 2.4
# Cut-outs overlap: a part is whole to where another one is as near, and fades beyond.
_OVERLAP = 2.0
# Where parts lie over each other, one whose rank is larger by 1 is taken as nearer by this many squared radii.
_IN_FRONT = 0.6
# References whose limb stands differently count less for that limb, by exp(-_FAITH * turn).
_FAITH = 4.0
_REFERENCES = 2
_CACHED = 24
_FIELD_STEP = 4


@dataclass(frozen=True)
class References:
    """Frames of the target to take parts from.

    pictures: uint8 (N, S, S, 4), window px, colour not multiplied by alpha, and alpha. keypoints: float32
    (N, 133, 3), window px. Raises ValueError when shapes or dtypes differ.
    """

    pictures: NDArray[np.uint8]
    keypoints: Floats

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if self.pictures.shape[:1] != (count,) or self.pictures.ndim != 4 or self.pictures.shape[3] != 4 or not count:
            raise ValueError(f"pictures must be (N, S, S, 4) with N = {count} > 0, not {self.pictures.shape}")
        if self.pictures.dtype != np.uint8 or self.keypoints.dtype != np.float32:
            raise ValueError(f"dtypes must be uint8 and float32, not {self.pictures.dtype}, {self.keypoints.dtype}")

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"pictures": self.pictures, "keypoints": self.keypoints}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> References:
        return cls(arrays["pictures"], arrays["keypoints"])


@dataclass(frozen=True)
class _CutOut:
    """One part of one reference: float32 (h, w, 4), colour times alpha, and alpha; (0, 0) is `corner` of the frame."""

    layer: Floats
    corner: tuple[int, int]


class Puppet:
    """Performs one dance with parts of the references. Calls are independent of each other.

    Args:
        references: where the parts come from.
        poses: float32 (T, 133, 3), the dance in window px.
        width: of the window, px.
        height: of the window, px.
    """

    def __init__(self, references: References, poses: Floats, width: int, height: int) -> None:
        self._pictures, self._poses = references.pictures, poses
        self._size = (width, height)
        self._trunk_px = trunk_length(references.keypoints)
        self._posed = [pose_parts(keypoints, self._trunk_px) for keypoints in references.keypoints]
        self._chosen = choose_references(poses, references.keypoints, self._trunk_px, _REFERENCES)
        self._cut_outs = lru_cache(_CACHED)(self._cut)

    def __call__(self, frame: int) -> Floats:
        """The window of a frame of the dance: float32 (height, width, 4) in 0..1, colour not multiplied by alpha."""
        driven = pose_parts(self._poses[frame], self._trunk_px)
        shares = _shares(driven, self._size, front=True)
        chosen = [int(index) for index in self._chosen[frame]]
        turns = np.array([turn_between(driven, self._posed[index]) for index in chosen])
        sure = np.array([self._posed[index].confidence for index in chosen])
        faith = np.exp(-_FAITH * turns) * np.clip(sure, 0.05, 1.0)
        faith = (faith / faith.sum(axis=0)).astype(np.float32)
        total = np.zeros((self._size[1], self._size[0], 4), np.float32)
        for rank, index in enumerate(chosen):
            trust = np.einsum("phw,p->hw", shares, faith[rank])
            total += self._pose(index, driven, shares) * trust[..., None]
        total[..., :3] /= np.maximum(total[..., 3:], 1e-4)
        return np.clip(total, 0.0, 1.0)

    def _pose(self, index: int, driven: Posed, shares: Floats) -> Floats:
        """One reference in the driven pose: float32 (H, W, 4), colour times alpha, and alpha."""
        width, height = self._size
        colour = np.zeros((height, width, 3), np.float32)
        weight = np.full((height, width, 1), 1e-6, np.float32)
        alpha = np.zeros((height, width, 1), np.float32)
        maps = part_maps(driven, self._posed[index])
        for part, cut in enumerate(self._cut_outs(index)):
            if cut is None or driven.confidence[part] <= 0:
                continue
            placed, area = _place(cut, invert(maps[part]), self._size)
            share = shares[part][area][..., None] + 1e-4
            colour[area] += placed[..., :3] * share
            weight[area] += placed[..., 3:] * share
            alpha[area] = np.maximum(alpha[area], placed[..., 3:])
        return np.concatenate([colour / weight * alpha, alpha], axis=2)

    def _cut(self, index: int) -> list[_CutOut | None]:
        picture = self._pictures[index]
        height, width = picture.shape[:2]
        posed = self._posed[index]
        shares = np.minimum(_shares(posed, (width, height), front=False) * _OVERLAP, 1.0)
        layered = picture.astype(np.float32) / 255.0
        layered[..., :3] *= layered[..., 3:]
        found: list[_CutOut | None] = []
        for part in range(len(PARTS)):
            share = shares[part] * (posed.confidence[part] > 0)
            mask = ((share > 0.02) & (picture[..., 3] > 2)).astype(np.uint8)
            left, top, across, down = cv2.boundingRect(mask)
            if across == 0:
                found.append(None)
                continue
            area = (slice(top, top + down), slice(left, left + across))
            layer = np.pad(layered[area] * share[area][..., None], ((1, 1), (1, 1), (0, 0)))
            found.append(_CutOut(layer, (left - 1, top - 1)))
        return found


def _place(cut: _CutOut, matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[Floats, tuple[slice, slice]]:
    """A cut-out sent through `matrix` (reference px to window px): the layer and the part of the window it covers."""
    height, width = cut.layer.shape[:2]
    moved = compose(matrix, np.array([[1.0, 0.0, cut.corner[0]], [0.0, 1.0, cut.corner[1]]]))
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ moved[:, :2].T + moved[:, 2]
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, size)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low, size)
    area = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
    across, down = int(high[0] - low[0]), int(high[1] - low[1])
    if not across or not down:
        return np.zeros((down, across, 4), np.float32), area
    here = compose(np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]]]), moved)
    placed = cv2.warpAffine(cut.layer, here, (across, down), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(placed, dtype=np.float32), area


def _shares(posed: Posed, size: tuple[int, int], *, front: bool) -> Floats:
    """How much each pixel belongs to each part: float32 (P, height, width), sums of at most 1.

    front: parts of larger rank win where parts lie over each other.
    """
    width, height = size
    across, down = -(-width // _FIELD_STEP), -(-height // _FIELD_STEP)
    columns = (np.arange(across, dtype=np.float32) + 0.5) * _FIELD_STEP - 0.5
    rows = (np.arange(down, dtype=np.float32) + 0.5) * _FIELD_STEP - 0.5
    near = np.stack([
        _squared_distance(columns, rows, posed.starts[part], posed.ends[part]) / posed.radii_px[part] ** 2
        for part in range(len(PARTS))
    ])  # fmt: skip
    if front:
        near = near - _IN_FRONT * np.array([part.rank for part in PARTS], np.float32)[:, None, None]
    near = np.where(posed.confidence[:, None, None] > 0, near, 1e3)
    nearest = near.min(axis=0)
    scores = np.exp(-_SHARPNESS * (near - nearest))
    reach = 1.0 / (1.0 + np.exp(np.minimum(2.0 * (near - _REACH**2), 50.0)))
    coarse = (scores / scores.sum(axis=0) * reach).astype(np.float32)
    fine = [cv2.resize(plane, (across * _FIELD_STEP, down * _FIELD_STEP)) for plane in coarse]
    return np.stack(fine)[:, :height, :width]


def _squared_distance(columns: Floats, rows: Floats, start: NDArray[np.float64], end: NDArray[np.float64]) -> Floats:
    """float32 (h, w): squared px from each point to the line between two others."""
    bone = end - start
    length = max(float(bone @ bone), 1e-6)
    x, y = columns[None, :] - start[0], rows[:, None] - start[1]
    along = np.clip((x * bone[0] + y * bone[1]) / length, 0.0, 1.0)
    return np.asarray((x - along * bone[0]) ** 2 + (y - along * bone[1]) ** 2, dtype=np.float32)
