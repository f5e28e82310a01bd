from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from services.common.frames import read_shard
from services.common.synthetic import (
    ADA,
    BO,
    HALL,
    SOURCE_DANCE,
    STUDIO,
    Dance,
    Dancer,
    Scene,
    compare_to_truth,
    render_clip,
    write_synthetic_pair,
)
from services.common.video import probe

SIZE = (192, 256)


def test_a_clip_can_be_drawn_again() -> None:
    first, second = (list(render_clip(ADA, SOURCE_DANCE, STUDIO, 3, SIZE, 25.0)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    later = next(render_clip(ADA, SOURCE_DANCE, STUDIO, 1, SIZE, 25.0, first_frame=2))
    np.testing.assert_array_equal(later.image, first[2].image)


@pytest.mark.parametrize(("dancer", "scene", "size"), [(ADA, STUDIO, SIZE), (BO, HALL, (224, 224))])
def test_truth_fits_the_picture(dancer: Dancer, scene: Scene, size: tuple[int, int]) -> None:
    for frame in render_clip(dancer, SOURCE_DANCE, scene, 70, size, 5.0):
        height, width = frame.alpha.shape
        assert frame.image.shape == (height, width, 3)
        # Everything stays in the picture, and every joint lies on the dancer (hidden ones behind other parts).
        x, y = np.round(frame.keypoints).astype(int).T
        assert (x >= 0).all()
        assert (x < width).all()
        assert (y >= 0).all()
        assert (y < height).all()
        inside = frame.alpha[y, x] > 0
        assert inside[[0, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16]].all()
        assert 0.02 < frame.alpha.mean() / 255 < 0.35
        feet = frame.keypoints[[15, 16, 17, 20], 1].max() - frame.keypoints[:5, 1].min()
        assert feet > 0.4 * height


def test_both_ends_of_the_floor_are_danced() -> None:
    for seed in (3, 8):
        near = [Dance(seed).posture(second)[1] for second in np.arange(0, 6, 0.04)]
        assert min(near) == -1.0
        assert max(near) == 1.0


def test_a_tripod_stands_still() -> None:
    frames = list(render_clip(BO, SOURCE_DANCE, HALL, 2, SIZE, 1.0))
    empty = (frames[0].alpha == 0) & (frames[1].alpha == 0)
    difference = np.abs(frames[0].image.astype(int) - frames[1].image)[empty]
    assert np.median(difference) <= 3
    drifting = next(render_clip(ADA, SOURCE_DANCE, STUDIO, 1, SIZE, 1.0, first_frame=3))
    assert 0.3 < np.abs(drifting.drift[:, 2]).max() < 8


def test_a_pair_is_written_once_and_measures_itself(tmp_path: Path) -> None:
    pair = write_synthetic_pair(
        tmp_path, source_frames=8, target_frames=6, source_size=(144, 192), target_size=(160, 160)
    )
    digest = hashlib.sha256(pair.truth.read_bytes()).hexdigest()
    assert write_synthetic_pair(tmp_path, source_frames=8, target_frames=6, source_size=(144, 192),
                                target_size=(160, 160)) == pair  # fmt: skip
    assert hashlib.sha256(pair.truth.read_bytes()).hexdigest() == digest
    facts = json.loads(pair.truth_json.read_text())
    source, truth = probe(pair.source), probe(pair.truth)
    assert (source.frame_count, source.has_audio, truth.frame_count, truth.width) == (8, True, 8, 160)
    assert [index for index, _ in read_shard(pair.truth_mattes)] == list(range(8))
    true = np.array(facts["truth_keypoints"], np.float32)
    track = np.concatenate([true, np.ones((8, 23, 1), np.float32)], axis=2)
    exact = compare_to_truth(track, np.ones(8, bool), pair.truth_json)
    assert exact.mean < 1e-6
    assert exact.within_tenth == 1.0
    moved = track + np.array([0.1 * facts["body_height_px"], 0, 0])
    error = compare_to_truth(moved, np.array([True] * 4 + [False] * 4), pair.truth_json)
    assert error.mean == pytest.approx(0.1, abs=1e-3)
    assert error.mean_placed == pytest.approx(0, abs=1e-3)
    assert error.frames == 4
    with pytest.raises(ValueError, match="none of 8 frames"):
        compare_to_truth(track, np.zeros(8, bool), pair.truth_json)
