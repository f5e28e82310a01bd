"""Batches: which frames an iteration sees, and how they are moved and lit, as a pure function of seed and iteration.

Frame, matte, plate and pose are moved by one and the same map, so that they stay registered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from services.common.skeleton import FACE, LEFT_HAND, MIRROR, RIGHT_HAND
from services.trainer.data import TrainingSet

_DETAILS = (FACE, LEFT_HAND, RIGHT_HAND)


@dataclass(frozen=True)
class Augmentation:
    """How far samples are moved, each amount drawn uniformly between - and + it."""

    chance: float = 0.7
    """Part of the samples that are moved at all; the rest is seen as it is, at full sharpness."""
    scale: float = 0.08
    """Relative change of size."""
    rotation_degrees: float = 5.0
    """Rotation about the window's middle."""
    shift: float = 0.06
    """Shift, of the window's side."""
    flip_chance: float = 0.0
    """Part of the moved samples that are mirrored left to right."""
    keypoint_noise: float = 0.002
    """Standard deviation of noise on each keypoint, of the window's side: other clips' poses are less clean."""
    unknown_chance: float = 0.15
    """Part of the samples in which the points of the face are not known, and so each hand's: in other clips they are
    often too small to be found, and a network that always had them draws no head without."""
    backdrop_chance: float = 0.3
    """Part of the samples put before another part of the plate, so that alpha and colour at the edge are told apart."""


@dataclass(frozen=True)
class Batch:
    """What one iteration sees; N samples of a square window of S px.

    frame: float (N, 3, S, S) in 0..1, the truth. matte, seen: float (N, 1, S, S), the person's alpha and where the
    camera really filmed. plate: float (N, 3, S, S), the empty background. keypoints: float (N, 133, 3), window px.
    """

    frame: Tensor
    matte: Tensor
    seen: Tensor
    plate: Tensor
    keypoints: Tensor

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, first: int, last: int) -> Batch:
        """Samples first <= n < last."""
        part = slice(first, last)
        return Batch(self.frame[part], self.matte[part], self.seen[part], self.plate[part], self.keypoints[part])


@dataclass(frozen=True)
class Draw:
    """Samples first <= n < last of an iteration's batch of `size`: what one of several processes computes of it."""

    size: int
    seed: int
    iteration: int
    first: int
    last: int

    @classmethod
    def whole(cls, size: int, seed: int, iteration: int) -> Draw:
        return cls(size, seed, iteration, 0, size)

    def indices(self, count: int) -> list[int]:
        """Which of `count` frames the samples show. Each epoch sees every frame once, in an order of its own."""
        slots = range(self.iteration * self.size + self.first, self.iteration * self.size + self.last)
        return [_epoch_order(count, self.seed, slot // count)[slot % count] for slot in slots]

    def random(self) -> torch.Generator:
        """The iteration's random numbers; drawn for the whole batch, they are the same on all processes."""
        return torch.Generator().manual_seed(_mix(self.seed, self.iteration))


def draw_batch(data: TrainingSet, amounts: Augmentation, draw: Draw) -> Batch:
    """The samples of a draw, equal for equal arguments: a resumed run goes on exactly."""
    random, size, part = draw.random(), draw.size, slice(draw.first, draw.last)
    chosen = torch.tensor(draw.indices(len(data)), device=data.frames.device)
    affine, flipped = (each[part] for each in _draw_affines(amounts, size, data.resolution, random))
    noise = torch.randn((size, data.keypoints.shape[1], 2), generator=random)[part] * amounts.keypoint_noise
    backdrop = torch.rand((size, 3), generator=random)[part]
    unknown = torch.rand((size, len(_DETAILS)), generator=random)[part] < amounts.unknown_chance

    keypoints = _move_keypoints(data.keypoints[chosen].cpu(), affine, flipped)
    keypoints[..., :2] += noise * data.resolution
    for which, points in enumerate(_DETAILS):
        keypoints[unknown[:, which], points, 2] = 0.0
    sampled = _sample(data.canvas(chosen), affine, data.resolution, (data.margin, data.margin))
    frame, matte, seen = sampled[:, :3], sampled[:, 3:4], sampled[:, 4:]
    plate = _sample_plate(data, chosen, affine)
    moved_backdrop = backdrop[:, 0] < amounts.backdrop_chance
    if moved_backdrop.any():
        other = _other_plate(data, affine, backdrop[:, 1:])
        chosen_rows = moved_backdrop.to(frame.device)[:, None, None, None]
        swapped = (frame + (1.0 - matte) * (other - plate)).clamp(0.0, 1.0)
        frame, plate = torch.where(chosen_rows, swapped, frame), torch.where(chosen_rows, other, plate)
    return Batch(frame, matte, seen, plate, keypoints.to(frame.device))


def whole_batch(data: TrainingSet, chosen: Tensor) -> Batch:
    """Frames `chosen` as they are."""
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(len(chosen), 2, 3)
    sampled = _sample(data.canvas(chosen), identity, data.resolution, (data.margin, data.margin))
    frame, matte, seen = sampled[:, :3], sampled[:, 3:4], sampled[:, 4:]
    return Batch(frame, matte, seen, _sample_plate(data, chosen, identity), data.keypoints[chosen])


def _mix(seed: int, iteration: int) -> int:
    """Seeds that are near each other must not give streams that are: a 64-bit finaliser (SplitMix64)."""
    value = (seed * 0x9E3779B97F4A7C15 + iteration + 1) & (2**64 - 1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = ((value ^ (value >> shift)) * factor) & (2**64 - 1)
    return (value ^ (value >> 31)) & (2**63 - 1)


def _epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    random = torch.Generator().manual_seed(_mix(seed ^ 0x5EED, epoch))
    return torch.randperm(count, generator=random).tolist()


def _draw_affines(amounts: Augmentation, count: int, resolution: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Maps (N, 2, 3) from the sample's window px to the stored window's, and which samples are mirrored (N,)."""
    u = torch.rand((count, 7), generator=random)
    moved, spread = u[:, 0] < amounts.chance, 2.0 * u[:, 1:5] - 1.0
    scale = torch.exp(spread[:, 0] * math.log1p(amounts.scale))
    angle = spread[:, 1] * math.radians(amounts.rotation_degrees)
    mirror = torch.where(u[:, 5] < amounts.flip_chance, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1)
    middle = torch.full((count, 2, 1), (resolution - 1) / 2.0)
    shift = spread[:, 2:4, None] * amounts.shift * resolution
    affine = torch.cat([linear, middle + shift - linear @ middle], dim=2)
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).expand(count, 2, 3)
    return torch.where(moved[:, None, None], affine, identity), moved & (mirror < 0)


def _move_keypoints(keypoints: Tensor, affine: Tensor, flipped: Tensor) -> Tensor:
    """Keypoints (N, 133, 3) of the stored window in the sample's, left and right exchanged where mirrored."""
    linear = torch.linalg.inv(affine[:, :, :2])
    xy = (keypoints[..., :2] - affine[:, None, :, 2]) @ linear.mT
    moved = torch.cat([xy, keypoints[..., 2:]], dim=2)
    return torch.where(flipped[:, None, None], moved[:, list(MIRROR)], moved)


def _sample(pictures: Tensor, affine: Tensor, size: int, offset: tuple[float, float] | Tensor) -> Tensor:
    """Pictures (N, C, H, W) seen through maps from result px to (picture px - offset): (N, C, size, size)."""
    height, width = pictures.shape[2:]
    shifted = affine.clone()
    shifted[:, :, 2] += torch.as_tensor(offset, dtype=affine.dtype)
    if bool((affine[:, :, :2] == torch.eye(2)).all()) and bool((shifted[:, :, 2] == shifted[:, :, 2].round()).all()):
        return _slices(pictures, shifted[:, :, 2].long(), size)
    # grid_sample wants -1..1 over the pixels' outer edges on both sides.
    ticks = torch.arange(size, dtype=affine.dtype)
    points = torch.stack([ticks.expand(size, size), ticks[:, None].expand(size, size), torch.ones(size, size)], dim=2)
    grid = torch.einsum("hwk,njk->nhwj", points, shifted)
    grid = (2.0 * grid + 1.0) / torch.tensor([width, height]) - 1.0
    return functional.grid_sample(
        pictures, grid.to(pictures.device), mode="bilinear", padding_mode="border", align_corners=False
    )


def _slices(pictures: Tensor, corners: Tensor, size: int) -> Tensor:
    """Plain slices, edges repeated outside."""
    height, width = pictures.shape[2:]
    rows = (corners[:, 1, None] + torch.arange(size)).clamp(0, height - 1)
    columns = (corners[:, 0, None] + torch.arange(size)).clamp(0, width - 1)
    return torch.stack([
        pictures[n].index_select(1, rows[n].to(pictures.device)).index_select(2, columns[n].to(pictures.device))
        for n in range(len(pictures))
    ])  # fmt: skip


def _sample_plate(data: TrainingSet, chosen: Tensor, affine: Tensor) -> Tensor:
    plate = (data.plate.float() / 255.0).expand(len(chosen), -1, -1, -1)
    return _sample(plate, affine, data.resolution, data.plate_offsets[chosen].cpu())


def _other_plate(data: TrainingSet, affine: Tensor, where: Tensor) -> Tensor:
    """The plate as it is elsewhere: `where` (N, 2) in 0..1 says where over its width and height."""
    height, width = data.plate.shape[1:]
    room = torch.tensor([width - data.resolution, height - data.resolution], dtype=torch.float32)
    plate = (data.plate.float() / 255.0).expand(len(where), -1, -1, -1)
    return _sample(plate, affine, data.resolution, torch.round(where * room))
