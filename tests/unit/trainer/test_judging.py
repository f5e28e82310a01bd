"""Measures of performances: what they say of the truth itself, of worse pictures, and of poses found again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.trainer.judging import Row, measure_row, measured, person_masks, pose_measures
from services.trainer.page import MEASURES, contact_sheet, page, side_by_side
from tests.support.figures import dancing
from tests.unit.trainer.figure import make_study

FRAMES = 6
STUDY = make_study(FRAMES, 340, 256, drift_px=0.0)
TRUTH = {t: measured(frame) for t, frame in enumerate(STUDY.frames)}
MASKS = person_masks({t: measured(matte) for t, matte in enumerate(STUDY.mattes)})
ASKED = STUDY.track.keypoints


def people(keypoints: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
    return {t: pose[None] for t, pose in enumerate(keypoints)}


def test_the_truth_is_perfect() -> None:
    found = measure_row(Row(TRUTH, people(ASKED)), TRUTH, MASKS, ASKED)
    assert found["person_ssim"] == pytest.approx(1.0, abs=1e-4)
    assert (found["sharpness"], found["flicker"], found["pose_distance"], found["missed_poses"]) == (1.0, 0, 0, 0)
    assert found["flicker_outside"] < 1 / 255
    assert "person_lpips" not in found


def test_a_blurred_trembling_performance_is_worse_in_every_measure_that_it_spoils() -> None:
    rng = np.random.default_rng(0)
    noise = {t: rng.integers(-9, 10, picture.shape) for t, picture in TRUTH.items()}
    blurred = {
        t: np.clip(cv2.GaussianBlur(picture, (0, 0), 2).astype(int) + noise[t], 0, 255).astype(np.uint8)
        for t, picture in TRUTH.items()
    }
    bad = measure_row(Row(blurred, {}), TRUTH, MASKS, ASKED, lambda a, b: float(np.abs(a.astype(int) - b).mean()))
    assert bad["person_ssim"] < 0.9
    assert bad["person_psnr_db"] < 35
    assert bad["flicker"] > 0.01
    assert bad["flicker_outside"] > 0.01
    assert bad["missed_poses"] == 1.0
    assert "pose_distance" not in bad
    assert bad["person_lpips"] > 1


def test_poses_are_judged_by_the_nearest_person_in_body_heights() -> None:
    asked = dancing(10, height=400).keypoints
    moved = asked.copy()
    moved[:, :, 0] += 40
    far = asked.copy()
    far[:, :, 0] += 1000
    both = {t: np.stack([far[t], moved[t]]) for t in range(10)}
    found = pose_measures(both, asked)
    assert found["pose_distance"] == pytest.approx(0.1, rel=0.15)
    assert found["missed_poses"] == 0
    alone = {t: far[t][None] for t in range(4)}
    assert pose_measures(alone | {t: moved[t][None] for t in range(4, 10)}, asked)["missed_poses"] == 0.4


def test_frames_that_cannot_be_compared_are_left_out() -> None:
    some = {t: picture for t, picture in TRUTH.items() if t != 3}
    assert measure_row(Row(some, {}), TRUTH, MASKS, ASKED)["person_ssim"] == pytest.approx(1.0, abs=1e-4)
    single = measure_row(Row({0: TRUTH[0]}, {}), TRUTH, MASKS, ASKED)
    assert "flicker" not in single
    assert "flicker_outside" not in single
    assert measure_row(Row({}, {}), TRUTH, MASKS, ASKED) == {"missed_poses": 1.0}


def test_the_page_stands_alone_and_shows_every_row() -> None:
    table = {"performer": {"person_ssim": 0.51234, "psnr_db": 31.26}, "truth": {"person_ssim": 1.0}}
    html = page("Title <of> it", table, 60)
    assert "Title &lt;of&gt; it" in html
    for text in ("performer", "truth", "0.512", "31.3", "comparison.mp4", "sheet.jpg"):
        assert text in html
    assert "http" not in html
    assert "flicker" not in html, "a measure that no row has takes no column"
    assert len({name for name, _, _ in MEASURES}) == len(MEASURES)


def test_sheet_and_film_have_a_place_for_each_row() -> None:
    rows = {"performer": TRUTH, "truth": TRUTH}
    sheet = contact_sheet(rows, MASKS)
    assert sheet.shape[0] % 2 == 0
    half = sheet.shape[0] // 2
    assert np.array_equal(sheet[30:half], sheet[half + 30 :])
    assert side_by_side([TRUTH[0], TRUTH[1], TRUTH[2]], ["a", "b", "c"]).shape[1] == 3 * TRUTH[0].shape[1]
