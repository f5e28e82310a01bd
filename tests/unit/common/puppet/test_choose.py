from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.common.puppet import choose
from services.common.puppet.choose import (
    choose_references,
    facing_distances,
    pose_distances,
    reference_distances,
    spread_frames,
)
from services.common.puppet.parts import trunk_length
from services.common.skeleton import FACE, RIGHT_EAR
from tests.unit.trainer.figure import make_pose

POSES = np.stack([make_pose(phase, 160, 120) for phase in np.arange(30) / 12.0])
TRUNK = trunk_length(POSES)


def test_distances_are_what_they_say() -> None:
    found = pose_distances(POSES[:3], POSES[5:9], TRUNK)
    for a, b in itertools.product(range(3), range(4)):
        one, other = (pose[:23, :2] - pose[[5, 6, 11, 12], :2].mean(axis=0) for pose in (POSES[a], POSES[5 + b]))
        assert found[a, b] == pytest.approx(((one - other) ** 2).sum(axis=1).mean() / TRUNK**2, rel=1e-4, abs=1e-7)


def test_the_place_in_the_frame_does_not_matter() -> None:
    moved = POSES.copy()
    moved[..., :2] += (40.0, -7.0)
    assert np.diag(pose_distances(POSES, moved, TRUNK)).max() < 1e-6


def test_heads_are_as_far_apart_as_their_points_about_their_middle() -> None:
    found = facing_distances(POSES[:3], POSES[5:9], TRUNK)
    for a, b in itertools.product(range(3), range(4)):
        one, other = (pose[:5, :2] - pose[:5, :2].mean(axis=0) for pose in (POSES[a], POSES[5 + b]))
        assert found[a, b] == pytest.approx(np.sqrt(((one - other) ** 2).sum(axis=1).mean()) / TRUNK, abs=1e-4)


def test_a_reference_without_a_face_is_far_from_a_dance_with_one() -> None:
    faceless = POSES[:1].copy()
    faceless[:, FACE, 2] = 0.0
    shown = POSES[:1].copy()
    shown[:, FACE, 2] = 1.0
    assert facing_distances(shown, faceless, TRUNK)[0, 0] > 0.05
    assert 0.01 < facing_distances(faceless, faceless, TRUNK)[0, 0] < 0.05
    for dance in (faceless, shown):
        assert facing_distances(dance, shown, TRUNK)[0, 0] < 1e-3


def test_a_point_of_the_head_that_is_not_known_does_not_matter() -> None:
    hidden = POSES[:1].copy()
    hidden[:, RIGHT_EAR] = 0.0
    for pair in ((POSES[:1], hidden), (hidden, POSES[:1]), (hidden, hidden)):
        assert facing_distances(*pair, TRUNK)[0, 0] == pytest.approx(
            facing_distances(POSES[:1], POSES[:1], TRUNK)[0, 0], abs=5e-3
        )
    unknown = POSES[:1].copy()
    unknown[:, :5] = 0.0
    assert np.isfinite(facing_distances(unknown, unknown, TRUNK)).all()


def test_known_poses_choose_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_SWITCH", 0.0)
    assert choose_references(pose_distances(POSES[10:20], POSES, TRUNK), 1)[:, 0].tolist() == list(range(10, 20))


def test_in_how_many_parts_distances_are_worked_out_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_FRAMES_AT_ONCE", 7)
    bodies, heads = reference_distances(POSES, POSES[::3], TRUNK)
    assert np.array_equal(bodies, pose_distances(POSES, POSES[::3], TRUNK))
    assert np.array_equal(heads, facing_distances(POSES, POSES[::3], TRUNK))


def test_changes_cost() -> None:
    chosen = choose_references(pose_distances(POSES, POSES, TRUNK), 2)
    assert len(set(chosen[:, 0].tolist())) < 30
    assert (chosen[:, 0] != chosen[:, 1]).all()


def test_the_path_is_the_cheapest(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = np.random.default_rng(1).random((5, 3)) * 0.1
    monkeypatch.setattr(choose, "_SWITCH", 0.03)

    def price(path: tuple[int, ...]) -> float:
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return float(sum(costs[t, r] for t, r in enumerate(path)) + 0.03 * changes)

    best = min(itertools.product(range(3), repeat=5), key=price)
    assert choose._cheapest_path(costs).tolist() == list(best)


def test_spread_frames_are_far_apart() -> None:
    chosen = spread_frames(POSES, 6)
    assert len(chosen) == 6
    assert (np.diff(chosen) > 0).all()

    def least(rows: np.ndarray) -> float:
        distances = pose_distances(POSES[rows], POSES[rows], TRUNK)
        return float(distances[~np.eye(len(rows), dtype=bool)].min())

    assert least(chosen) > least(np.arange(6) * 5)
    assert spread_frames(POSES, 100).tolist() == list(range(30))
