"""Body parts of reference frames, moved into another pose and merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.camera import compose, invert
from services.common.puppet.choose import Poses, choose_references, reference_distances
from services.common.puppet.field import Area, Field, hidden_by_arms, uncovered
from services.common.puppet.parts import (
    BEHIND,
    HEAD,
    LIMBS,
    PARTS,
    TRUNK,
    Posed,
    covered,
    part_maps,
    pose_parts,
    trunk_length,
    turn_between,
    unsure,
)

Floats = NDArray[np.float32]

# Cut-outs overlap: a part is whole to where another one is as near, and fades beyond.
_OVERLAP = 2.0
# References whose limb stands differently count less for that limb, by exp(-_FAITH * turn).
_FAITH = 40.0
# Arms that lie before the trunk in a reference would be seen on it, and of an arm behind the body only what hides it.
# So a reference counts as if it were turned by so much more there; and where all have it hidden by more than `_BARER`
# than need be, another one lends its trunk or limb: it is chosen by its distance and by what is hidden, a whole trunk
# or limb costing as much as this distance.
_COVERED, _UNSURE, _HIDDEN_COST, _BARER = 0.4, 4.0, 1.0, 0.03
# A head counts as turned by so much for each trunk of `facing_distances`: two faces that look elsewhere make a double
# one. Where the chosen references all look elsewhere, by so much more than another one, that one lends its head: it is
# chosen by so much for each trunk of that, by so much of its distance, lest it be lit otherwise, and by what is hidden.
_FACING, _ALIKE, _LENT_FACING, _LENT_STANDING = 8.0, 0.006, 4.0, 0.1
_REFERENCES = 2
_ALL = range(len(PARTS))
_LENT = ((TRUNK,), *LIMBS)
# Pixels of the references whose cut-outs are kept.
_CACHED_PX = 24 * 512**2


@dataclass(frozen=True)
class References:
    """Frames of the target to take parts from.

    pictures: uint8 (N, R, R, 4), colour not multiplied by alpha, and alpha; R is a multiple of the performer's
    resolution. keypoints: float32 (N, 133, 3), px of the pictures. Raises ValueError when shapes or dtypes differ.
    """

    pictures: NDArray[np.uint8]
    keypoints: Floats

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if self.pictures.shape[:1] != (count,) or self.pictures.ndim != 4 or self.pictures.shape[3] != 4 or not count:
            raise ValueError(f"pictures must be (N, S, S, 4) with N = {count} > 0, not {self.pictures.shape}")
        if self.pictures.dtype != np.uint8 or self.keypoints.dtype != np.float32:
            raise ValueError(f"dtypes must be uint8 and float32, not {self.pictures.dtype}, {self.keypoints.dtype}")

    @property
    def side(self) -> int:
        """Width and height of the pictures, px."""
        return int(self.pictures.shape[1])


def enlarged(keypoints: Floats, factor: float) -> Floats:
    """Keypoints (..., 3) of a picture, in px of the same picture `factor` times as large (or small, below 1)."""
    moved = keypoints.copy()
    moved[..., :2] = (moved[..., :2] + 0.5) * factor - 0.5
    return moved


@dataclass(frozen=True)
class _CutOut:
    """One part of one reference: uint8 (h, w, 4), colour times alpha, and alpha; (0, 0) is `corner` of the picture."""

    layer: NDArray[np.uint8]
    corner: tuple[int, int]


@dataclass(frozen=True)
class _Placed:
    """A part where the driven pose has it: uint8 (h, w, 4), colour times alpha, and alpha, of an area of the result."""

    part: int
    layer: NDArray[np.uint8]
    area: Area


class Puppet:
    """Performs one dance with parts of the references. Calls are independent of each other, and may be made at once.

    Args:
        references: where the parts come from.
        poses: (T, 133, 3), the dance in px of the references' pictures.
        width: of the result, px of the references' pictures.
        height: of the result, the same.
    """

    def __init__(self, references: References, poses: Poses, width: int, height: int) -> None:
        self._pictures, self._poses = references.pictures, poses
        self._size = (width, height)
        self._trunk_px = trunk_length(references.keypoints)
        self._posed = [pose_parts(keypoints, self._trunk_px) for keypoints in references.keypoints]
        hands, unknown = (np.array([each(posed) for posed in self._posed]) for each in (covered, unsure))
        self._hidden = _COVERED * hands + _UNSURE * unknown
        # A hand is hardly ever known as well as its arm is, nor a foot.
        lacks = {parts: hands[:, TRUNK] if parts == (TRUNK,) else unknown[:, parts[:2]].mean(axis=1) for parts in _LENT}
        costs, self._facing = reference_distances(poses, references.keypoints, self._trunk_px)
        self._chosen = choose_references(costs, _REFERENCES)
        self._lacks = {parts: lack for parts, lack in lacks.items() if lack.max() > lack.min() + _BARER}
        self._lenders = {
            parts: choose_references(costs + _HIDDEN_COST * lack, 1)[:, 0] for parts, lack in self._lacks.items()
        }
        head_costs = _LENT_FACING * self._facing + _LENT_STANDING * costs + self._hidden[:, HEAD]
        self._heads = choose_references(head_costs, 1)[:, 0]
        self._cut_outs = lru_cache(max(_REFERENCES + 1, _CACHED_PX // references.side**2))(self._cut)

    def __call__(self, frame: int) -> Floats:
        """A frame of the dance: float32 (height, width, 4) in 0..1, colour not multiplied by alpha, and alpha."""
        driven = pose_parts(self._poses[np.array([frame])][0], self._trunk_px)
        field = Field.of(driven, self._size, front=True)
        chosen = [int(index) for index in self._chosen[frame]]
        lent = self._lent(frame, chosen)
        turns = self._turned(frame, driven, chosen, lent)
        chosen += lent
        sure = np.array([self._posed[index].confidence for index in chosen])
        # From the least turned on: else two that are turned far would count alike.
        faith = np.exp(-_FAITH * (turns - turns.min(axis=0))) * np.clip(sure, 0.05, 1.0)
        faith = (faith / faith.sum(axis=0)).astype(np.float32)
        placed = [self._place(index, driven, field.step, lent.get(index, _ALL)) for index in chosen]
        result = np.zeros((self._size[1], self._size[0], 4), np.float32)
        box = _around([each.area for parts in placed for each in parts])
        if box is None:
            return result
        total = np.zeros((4, box[0].stop - box[0].start, box[1].stop - box[1].start), np.float32)
        for rank, parts in enumerate(placed):
            total += _merged(parts, field, box) * field.mixed(faith[rank])[box]
        total[:3] /= np.maximum(total[3], 1e-4)
        result[box] = cv2.merge(list(np.clip(total, 0.0, 1.0)))
        return result

    def _turned(
        self, frame: int, driven: Posed, chosen: list[int], lent: dict[int, tuple[int, ...]]
    ) -> NDArray[np.float64]:
        """How differently the parts of the chosen references stand, then of those that lend: (R, P), inf where they do
        not lend."""
        every = [*chosen, *lent]
        turns = np.array([turn_between(driven, self._posed[index]) for index in every])
        # Of one that lends its head, how the neck stands does not matter.
        turns[len(chosen) :, HEAD] = turns[: len(chosen), HEAD].min()
        turns[:, HEAD] += _FACING * self._facing[frame, every]
        turns += self._hidden[every]
        for rank, parts in enumerate(lent.values(), len(chosen)):
            turns[rank, [part not in parts for part in _ALL]] = np.inf
        return turns

    def _lent(self, frame: int, chosen: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Which parts other references lend to the chosen ones."""
        found: dict[int, tuple[int, ...]] = {}
        for parts, lack in self._lacks.items():
            lender = int(self._lenders[parts][frame])
            if lack[lender] < lack[chosen].min() - _BARER:
                found[lender] = (*found.get(lender, ()), *parts)
        head = int(self._heads[frame])
        if self._facing[frame, head] < self._facing[frame, chosen].min() - _ALIKE:
            found[head] = (*found.get(head, ()), HEAD)
        return found

    def _place(self, index: int, driven: Posed, step: int, parts: Sequence[int]) -> list[_Placed]:
        """These parts of one reference, each in its place of the driven pose."""
        maps = part_maps(driven, self._posed[index])
        cut_outs = self._cut_outs(index)
        there = [(part, cut) for part in parts if (cut := cut_outs[part]) is not None and driven.confidence[part] > 0]
        placed = [_place(part, cut, invert(maps[part]), self._size, step) for part, cut in there]
        return [each for each in placed if each.layer.size]

    def _cut(self, index: int) -> list[_CutOut | None]:
        picture = self._pictures[index]
        height, width = picture.shape[:2]
        posed = self._posed[index]
        field = Field.of(posed, (width, height), front=False)
        layered = picture.astype(np.float32)
        layered[..., :3] *= layered[..., 3:] / 255.0
        hidden = hidden_by_arms(posed, (width, height))
        found: list[_CutOut | None] = []
        for part in range(len(PARTS)):
            share = np.minimum(field.whole(part) * _OVERLAP, 1.0) * (posed.confidence[part] > 0)
            left, top, across, down = cv2.boundingRect(((share > 0.02) & (picture[..., 3] > 2)).astype(np.uint8))
            if across == 0:
                found.append(None)
                continue
            area = (slice(top, top + down), slice(left, left + across))
            layer = layered[area]
            if hidden is not None and BEHIND[part]:
                layer = uncovered(layer, share[area], hidden[area])
            layer = np.rint(layer * share[area][..., None]).astype(np.uint8)
            found.append(_CutOut(np.pad(layer, ((1, 1), (1, 1), (0, 0))), (left - 1, top - 1)))
        return found


def _merged(parts: list[_Placed], field: Field, box: Area) -> Floats:
    """One reference's parts over each other: float32 (4, h, w) of the box, colour times alpha, and alpha.

    Planes, not pixels, lie together: sums over (h, w, 4) with weights (h, w) take several times as long.
    """
    height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
    sums = np.zeros((4, height, width), np.float32)
    alpha = np.zeros((height, width), np.uint8)
    for each in parts:
        rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(each.area, box, strict=True))
        planes, share = cv2.split(each.layer), field.within(each.part, each.area) + np.float32(1e-4)
        for total, plane in zip(sums, planes, strict=True):
            total[rows, columns] += plane * share
        np.maximum(alpha[rows, columns], planes[3], out=alpha[rows, columns])
    sums[3] += 255.0 * 1e-6
    opacity = alpha * np.float32(1.0 / 255.0)
    sums[:3] *= opacity / sums[3]
    sums[3] = opacity
    return sums


def _around(areas: list[Area]) -> Area | None:
    """The smallest area that holds all of them."""
    if not areas:
        return None
    rows, columns = zip(*areas, strict=True)
    return (
        slice(min(each.start for each in rows), max(each.stop for each in rows)),
        slice(min(each.start for each in columns), max(each.stop for each in columns)),
    )


def _place(part: int, cut: _CutOut, matrix: NDArray[np.float64], size: tuple[int, int], step: int) -> _Placed:
    """A cut-out sent through `matrix` (reference px to result px). The edges of its area are multiples of `step`, or
    the result's own."""
    height, width = cut.layer.shape[:2]
    moved = compose(matrix, np.array([[1.0, 0.0, cut.corner[0]], [0.0, 1.0, cut.corner[1]]]))
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ moved[:, :2].T + moved[:, 2]
    low = np.clip(np.floor(corners.min(axis=0) / step).astype(int) * step, 0, size)
    high = np.clip(np.ceil((corners.max(axis=0) + 1) / step).astype(int) * step, low, size)
    area = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
    across, down = int(high[0] - low[0]), int(high[1] - low[1])
    if not across or not down:
        return _Placed(part, np.zeros((down, across, 4), np.uint8), area)
    here = compose(np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]]]), moved)
    placed = cv2.warpAffine(cut.layer, here, (across, down), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return _Placed(part, np.asarray(placed, dtype=np.uint8), area)
