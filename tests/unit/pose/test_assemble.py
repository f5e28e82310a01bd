from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import InvalidOption, NoPersonFound, PersonTooSmall
from services.common.tracks import PoseTrack
from services.pose.assemble import ELSEWHERE, NOBODY, UNSURE, InvalidRange, assemble
from tests.support.figures import dancing

RATE = 25.0
Keypoints = NDArray[np.float32]


def clip_of(*tracks: PoseTrack) -> list[Keypoints]:
    """What the backend would have found: everybody in each frame, in an order that changes."""
    frames = []
    for t in range(len(tracks[0])):
        people = [track.keypoints[t] for track in tracks if track.valid[t]]
        frames.append(np.array(people[:: 1 if t % 2 else -1], np.float32).reshape(-1, 133, 3))
    return frames


def absent(track: PoseTrack, *frames: int) -> PoseTrack:
    valid = track.valid.copy()
    valid[list(frames)] = False
    return PoseTrack(track.keypoints, valid, track.width, track.height)


def test_one_person_is_followed_as_they_move() -> None:
    truth = dancing(80, travel=100, depth=20)
    found = assemble(clip_of(truth), RATE, 640, 720)
    assert found.track.valid.all()
    assert found.people_seen == 1
    assert found.invalid_ranges == []
    assert found.warnings == []
    known = truth.keypoints[:, :, 2] > 0
    assert np.hypot(*np.moveaxis(found.track.keypoints - truth.keypoints, -1, 0)[:2])[known].max() < 2.0
    assert (found.track.keypoints[~known] == 0).all()
    assert found.median_height_px == pytest.approx(400, rel=0.1)


def test_the_largest_is_followed_through_a_crossing_and_said_so() -> None:
    large, small = dancing(60, travel=60, height=400), dancing(60, x=420, height=220, floor=480, seed=3)
    found = assemble(clip_of(large, small), RATE, 640, 720, role="target")
    assert np.abs(found.track.keypoints[:, 0] - large.keypoints[:, 0]).max() < 4
    assert found.people_seen == 2
    assert found.warnings[0].startswith(
        "2 people were seen in the target; number 1 was followed (middle, in 60 of 60 frames, "
    )
    assert "--target-person NUMBER" in found.warnings[0]
    other = assemble(clip_of(large, small), RATE, 640, 720, role="source", subject="2")
    assert np.abs(other.track.keypoints[:, 0] - small.keypoints[:, 0]).max() < 4
    assert "number 2 was followed" in other.warnings[0]
    assert "--source-person NUMBER" in other.warnings[0]


@pytest.mark.parametrize(
    ("subject", "whose"),
    [("", 0), ("largest", 0), ("left", 0), ("right", 1), ("index:0", 0), ("2", 1), ("520,300@7", 1), ("150,300", 0)],
)
def test_the_one_asked_for_is_followed(subject: str, whose: int) -> None:
    tracks = dancing(40, x=150, height=400), dancing(40, x=520, height=300, seed=2)
    found = assemble(clip_of(*tracks), RATE, 640, 720, subject=subject)
    assert np.abs(found.track.keypoints[:, 0, 0] - tracks[whose].keypoints[:, 0, 0]).max() < 5


def test_asking_for_somebody_who_is_not_there() -> None:
    people = clip_of(dancing(40))
    with pytest.raises(NoPersonFound, match="no person 3: only 1 person was seen"):
        assemble(people, RATE, 640, 720, subject="index:2")
    with pytest.raises(NoPersonFound, match="nobody was found at point:5000,10@3"):
        assemble(people, RATE, 640, 720, subject="point:5000,10@3")
    with pytest.raises(InvalidOption, match="somebody"):
        assemble(people, RATE, 640, 720, subject="somebody")


def test_a_passer_by_has_no_number_and_can_be_pointed_at() -> None:
    large, brief = dancing(60, x=150, height=300), absent(dancing(60, x=480, height=420), *range(10), *range(20, 60))
    assert assemble(clip_of(large, brief), RATE, 640, 720).people_seen == 1
    with pytest.raises(NoPersonFound, match="no person 2"):
        assemble(clip_of(large, brief), RATE, 640, 720, subject="2")
    pointed = assemble(clip_of(large, brief), RATE, 640, 720, subject="480,400@12")
    assert np.flatnonzero(pointed.track.valid).tolist() == list(range(10, 20))


def test_short_gaps_are_filled_and_long_ones_reported() -> None:
    truth = dancing(100, travel=50)
    lost = absent(truth, *range(20, 24), *range(50, 70))
    found = assemble(clip_of(lost), RATE, 640, 720)
    assert found.invalid_ranges == [InvalidRange(50, 20, NOBODY)]
    assert found.track.valid[20:24].all()
    assert np.abs(found.track.keypoints[22, :17, :2] - truth.keypoints[22, :17, :2]).max() < 8
    assert found.track.keypoints[22, :17, 2].max() <= 0.5
    assert (found.track.keypoints[50:70] == 0).all()
    assert any("4 frames" in warning for warning in found.warnings)


def test_why_a_frame_is_not_used() -> None:
    main, other = absent(dancing(80, x=200), *range(30, 50)), dancing(80, x=480, height=200, seed=4)
    main.keypoints[60:72, 5:17, 2] = 0.1
    found = assemble(clip_of(main, other), RATE, 640, 720)
    assert found.invalid_ranges == [InvalidRange(30, 20, ELSEWHERE), InvalidRange(60, 12, UNSURE)]


def test_somebody_who_comes_back_is_the_same_person() -> None:
    found = assemble(clip_of(absent(dancing(120), *range(40, 80))), RATE, 640, 720)
    assert found.people_seen == 1
    assert found.track.valid[:40].all()
    assert found.track.valid[80:].all()


def test_exchanged_legs_are_put_right() -> None:
    truth = dancing(60)
    mixed = truth.keypoints.copy()
    left, right = [11, 13, 15, 17, 19], [12, 14, 16, 20, 22]
    mixed[25:29, left], mixed[25:29, right] = truth.keypoints[25:29, right], truth.keypoints[25:29, left]
    found = assemble([pose[None] for pose in mixed], RATE, 640, 720)
    assert np.abs(found.track.keypoints[:, 11:17, :2] - truth.keypoints[:, 11:17, :2]).max() < 3
    assert any("4 frames" in warning for warning in found.warnings)


def test_a_joint_that_jumps_is_drawn_through() -> None:
    truth = dancing(60)
    keypoints = truth.keypoints.copy()
    keypoints[30, 9, :2] += 150
    found = assemble([pose[None] for pose in keypoints], RATE, 640, 720)
    assert np.abs(found.track.keypoints[30, 9, :2] - truth.keypoints[30, 9, :2]).max() < 5


def test_smoothing_takes_the_jitter_and_adds_no_lag() -> None:
    truth = dancing(150, travel=120)
    noise = np.random.default_rng(1).normal(0, 3, (150, 133, 2))
    noisy = truth.keypoints.copy()
    noisy[:, :, :2] += noise.astype(np.float32)
    found = assemble([pose[None] for pose in noisy], RATE, 640, 720).track.keypoints
    body = slice(0, 17)
    error = found[:, body, :2] - truth.keypoints[:, body, :2]
    assert error.std() < 0.65 * 3
    # Lag would make the error follow the velocity.
    velocity = np.gradient(truth.keypoints[:, body, 0], axis=0)
    lag = (error[:, :, 0] * velocity).sum() / (velocity**2).sum()
    assert abs(lag) < 0.05


def test_a_fast_arm_reaches_as_far_as_it_was_seen_to() -> None:
    truth = dancing(80).keypoints.copy()
    truth[:, 9, 0] += (60 * np.sin(np.arange(80) * 2 * np.pi / 8)).astype(np.float32)
    found = assemble([pose[None] for pose in truth], RATE, 640, 720).track.keypoints
    off = np.abs(found[4:-4, 9, 0] - truth[4:-4, 9, 0])
    assert off.max() < 0.015 * 420


def test_nobody_and_too_small() -> None:
    empty = [np.zeros((0, 133, 3), np.float32)] * 12
    with pytest.raises(NoPersonFound, match="no person found in 12 of 12 frames of the source"):
        assemble(empty, RATE, 640, 720, role="source")
    with pytest.raises(PersonTooSmall, match=r"30 px tall.*at least 48 px"):
        assemble(clip_of(dancing(20, height=30)), RATE, 640, 720, role="target")


def test_at_five_frames_a_second_motion_is_left_alone() -> None:
    truth = dancing(40, travel=80)
    found = assemble(clip_of(truth), 5.0, 640, 720)
    np.testing.assert_allclose(found.track.keypoints, truth.keypoints, atol=0.5)
