"""The mediapipe backend, against drawn dancers and annotated photographs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import InvalidOption, WeightsMissing
from services.common.weights import default_weights_dir
from services.segmentation import backends
from tests.unit.segmentation.scenes import HEIGHT, MEDIA, WIDTH, filmed

ANNOTATED = MEDIA / "annotated" / "coco"


@pytest.fixture(scope="module")
def segmenter() -> backends.Segmenter:
    return backends.load("mediapipe", default_weights_dir())


def overlap(matte: NDArray[np.uint8], truth: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    found = matte > 127
    return float((found & truth).sum() / (found | truth).sum())


def test_a_drawn_dancer_is_cut_out(segmenter: backends.Segmenter) -> None:
    clip = filmed(24, step=3)
    scores, errors = [], []
    for index in range(0, 24, 2):
        matte = segmenter.segment(clip.rgb(index), clip.track.keypoints[index])
        truth = clip.frames[index].alpha
        assert matte.shape == (HEIGHT, WIDTH)
        scores.append(overlap(matte, truth > 127))
        errors.append(np.abs(matte.astype(int) - truth).mean())
    assert min(scores) > 0.93
    assert np.mean(scores) > 0.96
    assert np.mean(errors) < 2.0


def test_threads_give_the_same_bits(segmenter: backends.Segmenter) -> None:
    clip = filmed(24, step=3)
    alone = [segmenter.segment(clip.rgb(i), clip.track.keypoints[i]) for i in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: segmenter.segment(clip.rgb(i), clip.track.keypoints[i]), range(6)))
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_unknown_subject_has_an_empty_matte(segmenter: backends.Segmenter) -> None:
    frame = filmed(24, step=3).rgb(0)
    assert not segmenter.segment(frame, np.zeros((133, 3), np.float32)).any()
    outside = filmed(24, step=3).track.keypoints[0].copy()
    outside[:, 0] += 10_000
    assert not segmenter.segment(frame, outside).any()


def test_of_two_dancers_only_the_subject_is_cut_out(segmenter: backends.Segmenter) -> None:
    clip = filmed(24, step=3)
    frame = np.ascontiguousarray(np.concatenate([clip.rgb(0)[:, 40:-40], clip.rgb(6)[:, 40:-40]], axis=1))
    left, right = clip.track.keypoints[0].copy(), clip.track.keypoints[6].copy()
    left[:23, 0] -= 40
    right[:23, 0] += WIDTH - 120
    truth = np.concatenate([clip.frames[0].alpha[:, 40:-40] > 127, np.zeros((HEIGHT, WIDTH - 80), bool)], axis=1)
    assert overlap(segmenter.segment(frame, left, [right]), truth) > 0.93


@dataclass(frozen=True)
class Annotated:
    file_name: str
    keypoints: NDArray[np.float32]
    mask: NDArray[np.bool_]


def photographed_people() -> list[Annotated]:
    """People whose trunk is annotated, with their polygons as masks."""
    whole = json.loads((ANNOTATED / "test_coco_wholebody.json").read_text())
    polygons = {each["id"]: each for each in json.loads((ANNOTATED / "test_coco.json").read_text())["annotations"]}
    images = {image["id"]: image for image in whole["images"]}
    people = []
    for each in whole["annotations"]:
        keypoints = _keypoints(each)
        shape = polygons.get(each["id"], {}).get("segmentation")
        if not isinstance(shape, list) or not keypoints[[5, 6, 11, 12], 2].all() or (keypoints[:17, 2] > 0).sum() < 8:
            continue
        image = images[each["image_id"]]
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for polygon in shape:
            cv2.fillPoly(mask, [np.rint(np.reshape(polygon, (-1, 2))).astype(np.int32)], 1)
        people.append(Annotated(image["file_name"], keypoints, mask > 0))
    return people


def _keypoints(annotation: dict[str, Any]) -> NDArray[np.float32]:
    names = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
    rows = np.concatenate([np.reshape(annotation[name], (-1, 3)) for name in names]).astype(np.float32)
    rows[:, 2] = rows[:, 2] > 0
    return np.asarray(rows * rows[:, 2:], np.float32)


@pytest.mark.skipif(not ANNOTATED.is_dir(), reason="the folder of test media is not there")
def test_photographed_people_are_cut_out(segmenter: backends.Segmenter) -> None:
    people = photographed_people()
    assert len(people) == 12
    scores = []
    for person in people:
        picture = cv2.imread(str(ANNOTATED / person.file_name), cv2.IMREAD_COLOR_RGB)
        others = [p.keypoints for p in people if p.file_name == person.file_name and p is not person]
        matte = segmenter.segment(np.asarray(picture, np.uint8), person.keypoints, others)
        scores.append(overlap(matte, person.mask))
    # Measured: mean .82, median .82; five of the twelve overlap each other, and the polygons are coarse.
    assert np.mean(scores) > 0.80
    assert np.median(scores) > 0.80


def test_unknown_backends_and_missing_weights_are_said(tmp_path: Any) -> None:
    with pytest.raises(InvalidOption, match="mediapipe"):
        backends.load("nonesuch", tmp_path)
    with pytest.raises(WeightsMissing):
        backends.load("mediapipe", tmp_path)
