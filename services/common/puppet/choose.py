"""Which of the target's frames a pose is made from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.puppet.parts import HEAD_POINTS, trunk_length
from services.common.skeleton import BODY, FACE, FEET, LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER

Floats = NDArray[np.float64]

_POINTS = list(range(BODY.start, FEET.stop))
_TRUNK = (LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP)
# Another reference costs as much as this difference of poses, mean square in parts of the trunk's length squared: else
# references would change every frame, and the picture flicker.
_SWITCH = 0.02
# A reference without a face is as far from one with it as if it looked elsewhere by so much, in parts of the trunk's
# length. A dance without a face has at least so much of one: its face is as often blurred as it is turned away.
_FACELESS, _LEAST_FACE = 0.1, 0.3
# Distances are worked out for so many frames at once.
_FRAMES_AT_ONCE = 1024


class Poses(Protocol):
    """The poses of a dance: an array (T, 133, 3) is one; others make theirs as they are asked for, so that memory does
    not grow with the dance."""

    def __len__(self) -> int:
        """T, how many there are."""
        ...

    def __getitem__(self, frames: NDArray[np.int64], /) -> NDArray[np.float32]:
        """float32 (N, 133, 3), the poses of frames (N,)."""
        ...


def pose_distances(poses: NDArray[np.float32], others: NDArray[np.float32], trunk_px: float) -> Floats:
    """float64 (T, N): mean squared distance of keypoints, in parts of the trunk's length squared.

    Args:
        poses: float32 (T, 133, 3), px.
        others: float32 (N, 133, 3), px of the same scale. Both are taken about the middle of their trunks.
        trunk_px: length of the trunk.
    """
    a, b = _centred(poses) / trunk_px, _centred(others) / trunk_px
    sure_a, sure_b = poses[:, _POINTS, 2].astype(np.float64), others[:, _POINTS, 2].astype(np.float64)
    return _mean_squares(a, sure_a, b, sure_b)


def facing_distances(poses: NDArray[np.float32], others: NDArray[np.float32], trunk_px: float) -> NDArray[np.float32]:
    """float32 (T, N): how differently heads are turned, for the same arguments as `pose_distances`.

    Root mean square distance of nose, eyes and ears about their middle, in parts of the trunk's length; more where the
    other one shows less of a face: it is blurred there, or hidden, or turned away.
    """
    (a, sure_a), (b, sure_b) = (_head(each, trunk_px) for each in (poses, others))
    totals = sure_a @ sure_b.T
    squares = _mean_squares(a, sure_a, b, sure_b)
    for axis in (0, 1):
        middles = (a[..., axis] * sure_a) @ sure_b.T - sure_a @ (b[..., axis] * sure_b).T
        squares -= (middles / totals) ** 2
    seen, shown = (each[:, FACE, 2].mean(axis=1, dtype=np.float64) for each in (poses, others))
    faceless = np.maximum(np.maximum(seen, _LEAST_FACE)[:, None] - shown, 0.0)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)) + _FACELESS * faceless, dtype=np.float32)


def reference_distances(
    poses: Poses, references: NDArray[np.float32], trunk_px: float
) -> tuple[Floats, NDArray[np.float32]]:
    """`pose_distances` and `facing_distances` of a whole dance from all references, (T, N) each."""
    parts = np.array_split(np.arange(len(poses)), -(-len(poses) // _FRAMES_AT_ONCE))
    bodies, heads = [], []
    for frames in parts:
        some = poses[frames]
        bodies.append(pose_distances(some, references, trunk_px))
        heads.append(facing_distances(some, references, trunk_px))
    return np.concatenate(bodies), np.concatenate(heads)


def _head(poses: NDArray[np.float32], trunk_px: float) -> tuple[Floats, Floats]:
    """Places (T, 5, 2) of the head's points about their middle, in trunks, and how sure they are (T, 5), above 0."""
    points = poses[:, HEAD_POINTS].astype(np.float64)
    return (points[..., :2] - points[..., :2].mean(axis=1, keepdims=True)) / trunk_px, points[..., 2] + 1e-6


def _mean_squares(a: Floats, sure_a: Floats, b: Floats, sure_b: Floats) -> Floats:
    """float64 (T, N): the mean over the points of |a - b|^2, weighted by sure_a sure_b.

    Of points (T, P, 2) and (N, P, 2), weights (T, P) and (N, P).
    """
    # Expanded, so that no (T, N, P, 2) array is needed.
    squares_a, squares_b = (a**2).sum(axis=2) * sure_a, (b**2).sum(axis=2) * sure_b
    cross = sum((a[..., axis] * sure_a) @ (b[..., axis] * sure_b).T for axis in (0, 1))
    sums = squares_a @ sure_b.T + sure_a @ squares_b.T - 2.0 * cross
    return np.asarray(np.maximum(sums, 0.0) / np.maximum(sure_a @ sure_b.T, 1e-6))


def choose_references(costs: Floats, count: int) -> NDArray[np.int64]:
    """The references of each frame of a dance: int64 (T, count), the best first, changed only when it pays.

    For each rank the path through the references with the least sum of costs (T, N) and changes (Viterbi), those of
    better rank excluded. A pure function of the whole dance, so that any run of its frames can be rendered alone.
    """
    costs = costs.copy()
    chosen = np.empty((len(costs), min(count, costs.shape[1])), dtype=np.int64)
    for rank in range(chosen.shape[1]):
        chosen[:, rank] = _cheapest_path(costs)
        np.put_along_axis(costs, chosen[:, rank : rank + 1], np.inf, axis=1)
    return chosen


def spread_frames(poses: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Frames, at most `count`, whose poses (T, 133, 3) lie as far apart as can be (Gonzalez, 1985), ascending."""
    if len(poses) <= count:
        return np.arange(len(poses))
    trunk_px = trunk_length(poses)
    found = [int(np.argmax(poses[:, _POINTS, 2].sum(axis=1)))]
    nearest = pose_distances(poses[found], poses, trunk_px)[0]
    while len(found) < count:
        found.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, pose_distances(poses[found[-1:]], poses, trunk_px)[0])
    return np.array(sorted(set(found)), dtype=np.int64)


def _centred(poses: NDArray[np.float32]) -> Floats:
    points = poses[..., :2].astype(np.float64)
    return np.asarray(points[:, _POINTS] - points[:, _TRUNK].mean(axis=1, keepdims=True))


def _cheapest_path(costs: Floats) -> NDArray[np.int64]:
    total = costs[0].copy()
    came_from = np.zeros(costs.shape, dtype=np.int64)
    for frame in range(1, len(costs)):
        best = int(np.argmin(total))
        stays = total <= total[best] + _SWITCH
        came_from[frame] = np.where(stays, np.arange(len(total)), best)
        total = np.where(stays, total, total[best] + _SWITCH) + costs[frame]
    path = np.empty(len(costs), dtype=np.int64)
    path[-1] = int(np.argmin(total))
    for frame in range(len(costs) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
