"""ColorVideoVDP: says of films what people would, in the person's box alone, and leaves Python's path as it was."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.trainer.colorvideovdp import ColorVideoVdp
from services.trainer.judging import measured, person_masks, visible_difference
from tests.unit.trainer.figure import make_study

STUDY = make_study(8, 340, 256, drift_px=0.0)
TRUTH = [measured(frame) for frame in STUDY.frames]
MASKS = list(person_masks({t: measured(matte) for t, matte in enumerate(STUDY.mattes)}).values())


@pytest.fixture(scope="module")
def metric() -> ColorVideoVdp:
    path = list(sys.path)
    made = ColorVideoVdp(24.0)
    assert sys.path == path
    return made


def blurred(sigma: float) -> list[NDArray[np.uint8]]:
    return [np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8) for picture in TRUTH]


def test_what_is_further_from_the_truth_has_less(metric: ColorVideoVdp) -> None:
    found = [metric(pictures, TRUTH) for pictures in (TRUTH, blurred(1.0), blurred(3.0))]
    assert found[0] == pytest.approx(10.0, abs=1e-3)
    assert 9.99 > found[1] > found[2] + 0.1


def test_flicker_is_seen_that_no_single_picture_shows(metric: ColorVideoVdp) -> None:
    """The same error in every frame, and the same by turns brighter and darker."""
    steady = [np.clip(picture.astype(int) + 6, 0, 255).astype(np.uint8) for picture in TRUTH]
    flickering = [np.clip(p.astype(int) + (6 if t % 2 else -6), 0, 255).astype(np.uint8) for t, p in enumerate(TRUTH)]
    assert metric(flickering, TRUTH) < metric(steady, TRUTH) - 0.1


def test_only_the_persons_box_counts(metric: ColorVideoVdp) -> None:
    everywhere = np.logical_or.reduce(MASKS)
    columns = np.flatnonzero(everywhere.any(axis=0))
    elsewhere = [picture.copy() for picture in TRUTH]
    for picture in elsewhere:
        picture[:, : max(0, columns[0] - 2)] = 0
    assert any((a != b).any() for a, b in zip(elsewhere, TRUTH, strict=True))
    assert visible_difference(elsewhere, TRUTH, MASKS, metric)["person_cvvdp_jod"] == pytest.approx(10.0, abs=1e-3)
    assert visible_difference(blurred(2.0), TRUTH, MASKS, metric)["person_cvvdp_jod"] < 9.9
    assert visible_difference(TRUTH[:1], TRUTH[:1], MASKS[:1], metric) == {}
