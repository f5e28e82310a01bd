"""The choice of references, and how large they are cut out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.camera import compose, resize, warp
from services.common.errors import ClipTooShort
from services.trainer.data import StudyFrame, split_clip
from services.trainer.draft import draft_windows, read_references
from services.trainer.evaluation import as_window
from tests.unit.trainer.figure import Study, make_study


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(36, 640, 480)


def _frames(study: Study, asked: list[int]) -> Iterator[StudyFrame]:
    return ((index, study.frames[index], study.mattes[index]) for index in asked)


@pytest.mark.parametrize(("resolution", "side"), [(64, 128), (256, 256)])
def test_twice_the_window_where_the_film_has_the_pixels(study: Study, resolution: int, side: int) -> None:
    split = split_clip(study.track, study.camera, resolution, 100)
    asked: list[int] = []

    def frames(chosen: list[int]) -> Iterator[StudyFrame]:
        asked.extend(chosen)
        return _frames(study, chosen)

    references = read_references(split, study.camera, 5, frames)
    assert references.side == side
    assert len(asked) == len(references.keypoints) == 5
    assert set(asked) <= set(split.training.tolist())
    enlarge = resize((resolution, resolution), (side, side))
    matrix = compose(enlarge, split.window.matrices[asked[2]], study.camera.matrices[asked[2]])
    inside = references.pictures[2, ..., 3] == 255
    truth = warp(study.frames[asked[2]], matrix, (side, side))
    assert inside.any()
    assert np.array_equal(references.pictures[2, ..., :3][inside], truth[inside])


def test_nothing_of_the_background_is_left_in_the_edges(study: Study) -> None:
    split = split_clip(study.track, study.camera, 64, 100)

    def before(background: int) -> NDArray[np.uint8]:
        def frames(chosen: list[int]) -> Iterator[StudyFrame]:
            for index, frame, matte in _frames(study, chosen):
                soft = np.asarray(cv2.GaussianBlur(matte, (0, 0), 2.0), dtype=np.uint8)
                mixed = background + (frame - float(background)) * (soft[..., None] / 255.0)
                yield index, np.rint(mixed).astype(np.uint8), soft

        return read_references(split, study.camera, 5, frames).pictures

    light, dark = before(255), before(0)
    edges = (light[..., 3] > 60) & (light[..., 3] < 200)
    assert edges.sum() > 100
    differences = np.abs(light[edges].astype(float) - dark[edges])[:, :3]
    assert np.median(differences) <= 4  # as filmed they are 124 apart


def test_unseen_poses_are_drawn_in_the_window(study: Study) -> None:
    split = split_clip(study.track, study.camera, 64, 100)
    references = read_references(split, study.camera, 72, lambda chosen: _frames(study, chosen))
    drafted = draft_windows(references, split)
    overlaps = []
    for frame in split.heldout.tolist():
        window = as_window(drafted(frame), 64)
        assert window.shape == (64, 64, 4)
        matrix = compose(split.window.matrices[frame], study.camera.matrices[frame])
        truth = warp(study.mattes[frame], matrix, (64, 64)) > 127
        drawn = window[..., 3] > 0.5
        overlaps.append((truth & drawn).sum() / (truth | drawn).sum())
    assert np.mean(overlaps) > 0.75


def test_a_clip_of_which_nothing_can_be_read(study: Study) -> None:
    split = split_clip(study.track, study.camera, 64, 100)
    with pytest.raises(ClipTooShort, match="none of the 4 frames"):
        read_references(split, study.camera, 4, lambda _chosen: iter(()))


def test_few_frames_are_not_judged(study: Study) -> None:
    valid = np.arange(36) < 3
    split = split_clip(replace(study.track, valid=valid), study.camera, 64, 100, 1, least_judged=24)
    assert split.training.tolist() == [0, 1, 2]
    assert split.heldout_range == (0, 0)
