"""Which of the target's frames a pose is made from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.puppet.parts import trunk_length
from services.common.skeleton import BODY, FEET, LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER

Floats = NDArray[np.float64]

_POINTS = list(range(BODY.start, FEET.stop))
_TRUNK = (LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP)
# Another reference costs as much as this difference of poses, mean square in parts of the trunk's length squared: else
# references would change every frame, and the picture flicker.
_SWITCH = 0.02
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
    weights = sure_a @ sure_b.T
    # sum w_a w_b (a - b)^2, expanded so that no (T, N, 23, 2) array is needed
    squares_a, squares_b = (a**2).sum(axis=2) * sure_a, (b**2).sum(axis=2) * sure_b
    cross = sum((a[..., axis] * sure_a) @ (b[..., axis] * sure_b).T for axis in (0, 1))
    sums = squares_a @ sure_b.T + sure_a @ squares_b.T - 2.0 * cross
    return np.asarray(np.maximum(sums, 0.0) / np.maximum(weights, 1e-6))


def reference_costs(poses: Poses, references: NDArray[np.float32], trunk_px: float) -> Floats:
    """`pose_distances` of a whole dance from all references: float64 (T, N)."""
    parts = np.array_split(np.arange(len(poses)), -(-len(poses) // _FRAMES_AT_ONCE))
    return np.concatenate([pose_distances(poses[frames], references, trunk_px) for frames in parts])


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
