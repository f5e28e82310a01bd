"""The real networks on drawn dancers, whose joints are known, and on annotated photographs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import Cancelled, InvalidOption
from services.common.frames import decode_image
from services.common.synthetic import (
    ADA,
    BO,
    HALL,
    SOURCE_DANCE,
    STUDIO,
    TARGET_DANCE,
    Dance,
    Dancer,
    Scene,
    render_clip,
)
from services.common.weights import default_weights_dir
from services.pose.assemble import assemble
from services.pose.backends import PoseBackend, load_backend

COCO = Path(__file__).parents[4] / "shared" / "media" / "annotated" / "coco"
# Object keypoint similarity of COCO: per-keypoint tolerance (Lin et al., 2014).
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
RATE = 12.5


@cache
def backend(threads: int) -> PoseBackend:
    return load_backend("mediapipe", default_weights_dir(), threads)


@pytest.mark.parametrize(
    ("dancer", "dance", "scene", "size"),
    [(ADA, SOURCE_DANCE, STUDIO, (288, 384)), (BO, TARGET_DANCE, HALL, (384, 288))],
)
def test_joints_of_drawn_dancers(dancer: Dancer, dance: Dance, scene: Scene, size: tuple[int, int]) -> None:
    frames = list(render_clip(dancer, dance, scene, 32, size, RATE))
    found = backend(2).estimate([frame.image for frame in frames], lambda _done: None)
    track = assemble([poses.keypoints for poses in found], RATE, *size).track
    truth = np.stack([frame.keypoints for frame in frames])
    height = float(np.median(truth[:, 15:17, 1].max(axis=1) - truth[:, 0, 1]))
    assert track.valid.all()
    known = track.keypoints[:, :23, 2] > 0.3
    assert known[:, :17].mean() > 0.95
    error = np.hypot(*np.moveaxis(track.keypoints[:, :23, :2] - truth[:, :23], -1, 0))[known] / height
    # Measured: mean 0.015, 100 % within a tenth.
    assert error.mean() < 0.025
    assert (error < 0.1).mean() > 0.98


def test_the_same_whatever_the_threads_and_the_gaps() -> None:
    frames = [frame.image for frame in render_clip(ADA, SOURCE_DANCE, STUDIO, 6, (288, 384), RATE)]
    frames[3] = np.zeros_like(frames[3])
    one, two = (backend(threads).estimate(frames, lambda _done: None) for threads in (1, 2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.keypoints, second.keypoints)
        np.testing.assert_array_equal(first.scores, second.scores)
    assert len(one[3].scores) == 0


def test_an_empty_room_holds_nobody() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    (found,) = backend(1).estimate([noise], lambda _done: None)
    assert found.keypoints.shape == (0, 133, 3)


def test_a_figure_too_small_for_the_whole_frame_is_found_in_a_tile() -> None:
    frame = next(render_clip(ADA, SOURCE_DANCE, STUDIO, 1, (144, 192), RATE))
    scene = np.full((1080, 1920, 3), 128, np.uint8)
    scene[700:892, 1300:1444] = frame.image
    (found,) = backend(2).estimate([scene], lambda _done: None)
    assert len(found.scores) == 1
    error = np.hypot(*(found.keypoints[0, 5:17, :2] - (frame.keypoints[5:17] + np.array([1300, 700]))).T)
    assert error.mean() < 10


def test_work_can_be_stopped() -> None:
    def stop(_done: int) -> None:
        raise Cancelled("enough")

    frames = [np.zeros((64, 64, 3), np.uint8)] * 20
    with pytest.raises(Cancelled):
        backend(2).estimate(frames, stop)


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidOption, match="there are: mediapipe"):
        load_backend("nonesuch", default_weights_dir(), 1)


@pytest.mark.skipif(not COCO.is_dir(), reason="the annotated photographs are not beside the checkout")
def test_photographs_reach_the_measured_similarity() -> None:
    truth = json.loads((COCO / "test_coco_wholebody.json").read_text())
    best = []
    for picture in truth["images"]:
        image = decode_image((COCO / picture["file_name"]).read_bytes(), picture["file_name"])
        assert image is not None
        (found,) = backend(2).estimate([image], lambda _done: None)
        people = [each for each in truth["annotations"] if each["image_id"] == picture["id"]]
        best.append(max(_similarity(person, pose) for person in people for pose in found.keypoints))
    # Measured: 0.91, 0.68, 0.85 and 0.86, of the best found person in each picture.
    assert min(best) > 0.6
    assert np.mean(best) > 0.75


def _similarity(person: dict[str, list[float]], pose: NDArray[np.float32]) -> float:
    joints = np.array(person["keypoints"], float).reshape(-1, 3)
    labelled = joints[:, 2] > 0
    if labelled.sum() < 8:
        return 0.0
    squared = ((pose[:17, :2] - joints[:, :2]) ** 2).sum(axis=1)
    area = float(np.asarray(person["area"]))
    return float(np.exp(-squared / (2 * area * (2 * SIGMAS) ** 2))[labelled].mean())
