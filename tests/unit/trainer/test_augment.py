"""Batches are pure functions of seed and iteration, and everything in a sample moves together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from services.common.skeleton import FACE, LEFT_HAND, MIRROR, RIGHT_HAND
from services.trainer.augment import Augmentation, Batch, Draw, draw_batch, whole_batch
from services.trainer.data import TrainingSet
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import load, tiny_config

STILL = Augmentation(chance=0.0, keypoint_noise=0.0, unknown_chance=0.0, backdrop_chance=0.0)
MOVED = Augmentation(chance=1.0, scale=0.1, rotation_degrees=10, shift=0.1, keypoint_noise=0.0, backdrop_chance=0.0)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return load(make_study(30), tiny_config(1))


def _tensors(batch: Batch) -> list[torch.Tensor]:
    return list(vars(batch).values())


def _error(batch: Batch, row: int) -> float:
    """How far the plate is from the frame where nobody is."""
    empty = (batch.matte[row] == 0) & (batch.seen[row] == 1)
    return float((batch.frame[row] - batch.plate[row]).abs().mean(0)[empty[0]].mean())


def test_equal_arguments_equal_batches_and_others_differ(data: TrainingSet) -> None:
    first, second = (draw_batch(data, Augmentation(), Draw.whole(3, 5, 11)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(_tensors(first), _tensors(second), strict=True))
    assert not torch.equal(first.frame, draw_batch(data, Augmentation(), Draw.whole(3, 5, 12)).frame)
    assert not torch.equal(first.frame, draw_batch(data, Augmentation(), Draw.whole(3, 6, 11)).frame)


def test_a_share_of_a_batch_is_that_part_of_the_whole(data: TrainingSet) -> None:
    whole = draw_batch(data, Augmentation(), Draw.whole(4, 5, 11))
    share = draw_batch(data, Augmentation(), Draw(4, 5, 11, 1, 3))
    assert len(share) == 2
    assert all(torch.equal(a[1:3], b) for a, b in zip(_tensors(whole), _tensors(share), strict=True))


def test_an_epoch_sees_every_frame_once(data: TrainingSet) -> None:
    size = 4
    assert len(data) % size == 0
    rounds = [
        draw_batch(data, STILL, Draw.whole(size, 1, iteration)).keypoints for iteration in range(len(data) // size)
    ]
    seen = torch.cat(rounds)[:, 9, 0].sort().values
    assert torch.allclose(seen, data.keypoints[:, 9, 0].sort().values)


def test_without_augmentation_samples_are_the_stored_windows(data: TrainingSet) -> None:
    batch = draw_batch(data, STILL, Draw.whole(len(data), 1, 0))
    plain = whole_batch(data, torch.arange(len(data)))
    for row in range(len(data)):
        match = int((plain.keypoints[:, 9, 0] - batch.keypoints[row, 9, 0]).abs().argmin())
        assert torch.equal(batch.frame[row], plain.frame[match])
        assert torch.equal(batch.plate[row], plain.plate[match])


def test_face_and_hands_are_now_and_then_unknown_each_as_a_whole(data: TrainingSet) -> None:
    count = len(data)
    known, some = (
        draw_batch(data, replace(STILL, unknown_chance=chance), Draw.whole(count, 1, 0)).keypoints
        for chance in (0.0, 0.5)
    )
    assert torch.equal(known[..., :2], some[..., :2])
    assert torch.equal(known[:, : FACE.start], some[:, : FACE.start])
    parts = (FACE, LEFT_HAND, RIGHT_HAND)
    gone = torch.stack([(some[:, part, 2] == 0).all(dim=1) for part in parts], dim=1)
    kept = torch.stack([(some[:, part, 2] == known[:, part, 2]).all(dim=1) for part in parts], dim=1)
    assert bool((gone | kept).all())
    assert bool((known[:, FACE, 2] > 0).all())
    assert all(0.2 < float(share) < 0.8 for share in gone.float().mean(dim=0))
    assert bool((gone.any(dim=1) & ~gone.all(dim=1)).any())


def test_plate_stays_behind_the_frame_when_both_move(data: TrainingSet) -> None:
    batch = draw_batch(data, MOVED, Draw.whole(8, 3, 0))
    assert max(_error(batch, row) for row in range(8)) < 0.04


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_keypoints_move_with_the_picture(data: TrainingSet, flip: float) -> None:
    batch = draw_batch(data, replace(MOVED, flip_chance=flip), Draw.whole(8, 3, 0))
    for row in range(8):
        x, y = batch.keypoints[row, 0, :2].round().long().tolist()  # the nose is in the middle of the head
        assert batch.matte[row, 0, y, x] > 0.5
        # the left arm (index 7) is red, whichever way the picture is turned, its mirror image is the right one
        elbow = batch.keypoints[row, MIRROR[7] if flip else 7, :2].round().long().tolist()
        colour = batch.frame[row, :, elbow[1], elbow[0]]
        assert colour[0] > colour[2]


def test_another_backdrop_leaves_the_person(data: TrainingSet) -> None:
    swapped = draw_batch(data, replace(STILL, backdrop_chance=1.0), Draw.whole(6, 2, 0))
    plain = draw_batch(data, STILL, Draw.whole(6, 2, 0))
    person = (plain.matte == 1).expand_as(plain.frame)
    assert torch.allclose(swapped.frame[person], plain.frame[person], atol=1e-6)
    assert not torch.equal(swapped.plate, plain.plate)
    assert max(_error(swapped, row) for row in range(6)) < 0.06
