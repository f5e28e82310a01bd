"""Silhouettes, and what they hide."""

from __future__ import annotations

import numpy as np

from services.segmentation.hiding import hidden_by
from services.segmentation.people import crown, person_box, person_size, same_person, silhouette
from services.segmentation.plate import HIDDEN, NEAR
from tests.unit.segmentation.scenes import HEIGHT, WIDTH, filmed

NOBODY = np.zeros((133, 3), np.float32)


def test_a_silhouette_covers_the_whole_person_and_not_the_whole_frame() -> None:
    clip = filmed(16, drift=0.0)
    for frame, pose in zip(clip.frames, clip.track.keypoints, strict=True):
        shape = silhouette(pose, HEIGHT, WIDTH) > 0
        person = frame.alpha > 127
        assert (shape & person).sum() / person.sum() > 0.99
        assert shape.sum() < 3.5 * person.sum()


def test_a_smaller_mask_is_the_same_shape() -> None:
    pose = filmed(16, drift=0.0).track.keypoints[0]
    full = silhouette(pose, HEIGHT, WIDTH)[::2, ::2] > 0
    half = silhouette(pose, HEIGHT // 2, WIDTH // 2, scale=0.5) > 0
    assert (full & half).sum() / (full | half).sum() > 0.9


def test_an_unknown_person_has_no_shape() -> None:
    assert person_box(NOBODY) is None
    assert person_size(NOBODY) == 0
    assert crown(NOBODY).shape == (0, 2)
    assert not silhouette(NOBODY, 20, 20).any()
    assert not same_person(NOBODY, NOBODY)


def test_the_crown_is_above_the_eyes() -> None:
    clip = filmed(16, drift=0.0)
    pose = clip.track.keypoints[0]
    top_of_head = np.flatnonzero((clip.frames[0].alpha > 127).any(axis=1))[0]
    assert crown(pose)[0, 1] < top_of_head + 3


def test_people_are_told_apart_by_place() -> None:
    pose = filmed(16, drift=0.0).track.keypoints[0]
    other = pose.copy()
    other[:, 0] += np.where(pose[:, 2] > 0, 100, 0)
    wobbly = pose + np.where(pose[:, 2:] > 0, [3.0, -3.0, 0.0], 0).astype(np.float32)
    assert same_person(pose, wobbly)
    assert not same_person(pose, other)


def test_a_matte_hides_its_rim_and_shades_its_surroundings() -> None:
    matte = np.zeros((200, 200), np.uint8)
    matte[50:150, 60:80] = matte[50:150, 120:140] = 255
    hidden = hidden_by([matte])
    assert (hidden[matte > 0] == HIDDEN).all()
    assert hidden[100, 58] == HIDDEN
    assert hidden[100, 100] == NEAR  # between the legs
    assert hidden[10, 10] == 0
    assert not hidden_by([np.zeros_like(matte)]).any()
