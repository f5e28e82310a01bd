from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST
from services.pose.assemble import assemble
from services.pose.hands import about_wrists, onto_wrists
from services.pose.smoothing import smooth
from tests.support.figures import dancing

RATE = 25.0
Keypoints = NDArray[np.float32]


def followed(keypoints: Keypoints) -> Keypoints:
    return assemble([pose[None] for pose in keypoints], RATE, 640, 720).track.keypoints


def apart(keypoints: Keypoints, truth: Keypoints, hand: slice, wrist: int) -> NDArray[np.float32]:
    """How far the hand's points are from where they should be about the wrist, px, float32 (T, 21)."""
    off = (keypoints[:, hand] - keypoints[:, wrist, None]) - (truth[:, hand] - truth[:, wrist, None])
    return np.asarray(np.hypot(off[..., 0], off[..., 1]))


def test_a_hand_that_was_lost_goes_with_its_arm() -> None:
    truth = dancing(80, travel=150).keypoints
    seen = truth.copy()
    for lost in range(10, 70, 10):
        seen[lost : lost + 5, LEFT_HAND] = 0
    found = followed(seen)
    assert (found[:, LEFT_HAND, 2] > 0).all()
    assert apart(found, truth, LEFT_HAND, LEFT_WRIST).max() < 1


def test_a_hand_found_at_a_mistaken_wrist_comes_back_with_it() -> None:
    truth = dancing(60).keypoints
    seen = truth.copy()
    seen[30, LEFT_WRIST, :2] += 150
    seen[30, LEFT_HAND, :2] += 150
    found = followed(seen)
    assert np.abs(found[30, LEFT_HAND, :2] - truth[30, LEFT_HAND, :2]).max() < 5


def test_a_hand_at_a_hidden_wrist_is_no_surer_than_the_wrist() -> None:
    seen = dancing(40).keypoints
    seen[20:30, RIGHT_WRIST, 2] = 0.1
    seen[30, RIGHT_WRIST] = 0
    held = about_wrists(seen)
    assert (held[20:30, RIGHT_HAND, 2] == np.float32(0.1)).all()
    assert (held[30, RIGHT_HAND] == 0).all()
    assert (held[:, LEFT_HAND, 2] == 1).all()
    assert (held[:, : LEFT_HAND.start] == seen[:, : LEFT_HAND.start]).all()


def test_there_and_back() -> None:
    seen = dancing(20).keypoints
    np.testing.assert_allclose(onto_wrists(about_wrists(seen)), seen, atol=1e-3)
    held = about_wrists(seen)
    held[7, LEFT_WRIST] = 0
    assert (onto_wrists(held)[7, LEFT_HAND] == 0).all()


def test_what_is_hardly_seen_is_not_thrown_out_of_the_way_of_the_rest() -> None:
    track = np.zeros((30, 133, 3), np.float32)
    track[:, :, 2] = 0.05
    track[4:, :, 2] = 1.0
    track[:, :, 0] = 300 + np.maximum(np.arange(30) - 3.0, 0)[:, None] ** 3
    track[:, :, 1] = 200
    smoothed = smooth(track, np.ones(30, np.bool_), 400.0, RATE)
    for frame in range(30):
        near = track[max(0, frame - 2) : frame + 3, 0, 0]
        assert near.min() - 1e-3 <= smoothed[frame, 0, 0] <= near.max() + 1e-3
