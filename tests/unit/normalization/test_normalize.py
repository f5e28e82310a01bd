from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common.errors import InvalidOption, NoPersonFound
from services.common.skeleton import MIRROR
from services.common.tracks import PoseTrack
from services.normalization.normalize import MODES, normalize
from services.normalization.stance import measure
from tests.support.figures import dancing, standing

RATE = 25.0
FRAMES = 60
Floats = NDArray[np.float64]

numbers = st.floats(0.0, 1.0)
modes = st.sampled_from(MODES)


@st.composite
def dancers(draw: st.DrawFn) -> PoseTrack:
    """Somebody who dances well inside a picture of 640 x 720."""
    height = 120 + 180 * draw(numbers)
    return dancing(
        FRAMES,
        height=height,
        x=260 + 120 * draw(numbers),
        floor=520 + 80 * draw(numbers),
        depth=draw(st.sampled_from([0.0, 8.0, 20.0])),
        travel=60 * draw(numbers),
        seed=draw(st.integers(0, 50)),
    )


def xy(track: PoseTrack) -> Floats:
    return track.keypoints[track.valid][:, :, :2].astype(np.float64)


def moved(track: PoseTrack, scale: float, dx: float, dy: float) -> PoseTrack:
    keypoints = track.keypoints.copy()
    keypoints[:, :, :2] = keypoints[:, :, :2] * scale + [dx, dy]
    keypoints[track.keypoints[:, :, 2] == 0] = 0
    return replace(track, keypoints=keypoints.astype(np.float32))


def mirrored(track: PoseTrack) -> PoseTrack:
    keypoints = track.keypoints[:, list(MIRROR)].copy()
    keypoints[:, :, 0] = np.where(keypoints[:, :, 2] > 0, track.width - 1 - keypoints[:, :, 0], 0)
    return replace(track, keypoints=keypoints)


@settings(deadline=None, max_examples=40)
@given(dancers(), modes)
def test_a_track_drives_itself_unchanged(track: PoseTrack, mode: str) -> None:
    driven = normalize(track, RATE, track, RATE, mode)
    np.testing.assert_allclose(xy(driven.track), xy(track), atol=0.05)
    assert driven.scale_close == pytest.approx(1.0)
    assert driven.scale_far == pytest.approx(1.0)
    assert driven.warnings == []


@settings(deadline=None, max_examples=40)
@given(dancers(), dancers(), modes, st.floats(0.4, 2.5), st.floats(-500, 500), st.floats(-500, 500))
def test_how_the_source_was_filmed_does_not_matter(
    source: PoseTrack, target: PoseTrack, mode: str, scale: float, dx: float, dy: float
) -> None:
    plain = normalize(source, RATE, target, RATE, mode)
    other = normalize(moved(source, scale, dx, dy), RATE, target, RATE, mode)
    np.testing.assert_allclose(xy(other.track), xy(plain.track), atol=0.1)
    assert other.scale_far * scale == pytest.approx(plain.scale_far, rel=1e-3)


@settings(deadline=None, max_examples=40)
@given(dancers(), dancers(), modes)
def test_mirrored_videos_give_the_mirrored_dance(source: PoseTrack, target: PoseTrack, mode: str) -> None:
    plain = normalize(source, RATE, target, RATE, mode)
    other = normalize(mirrored(source), RATE, mirrored(target), RATE, mode)
    np.testing.assert_allclose(xy(other.track), xy(mirrored(plain.track)), atol=0.1)


@settings(deadline=None, max_examples=40)
@given(dancers(), dancers(), modes)
def test_the_driven_dancer_stays_in_the_picture_and_on_the_floor(
    source: PoseTrack, target: PoseTrack, mode: str
) -> None:
    driven = normalize(source, RATE, target, RATE, mode).track
    known = driven.keypoints[:, :, 2] > 0
    x, y = driven.keypoints[:, :, 0][known], driven.keypoints[:, :, 1][known]
    assert x.min() > -1
    assert x.max() < target.width
    assert y.min() > -1
    ankles = driven.keypoints[:, [15, 16], 1]
    theirs = target.keypoints[:, [15, 16], 1]
    # A quick step away from the camera is partly taken for a hop.
    slack = 0.12 * measure(target, RATE).height
    assert ankles.max() < theirs.max() + slack
    assert ankles.max(axis=1).min() > theirs.min() - slack


def test_the_driven_body_has_the_target_s_height() -> None:
    source, target = dancing(FRAMES, height=500), dancing(FRAMES, height=250, seed=2)
    driven = normalize(source, RATE, target, RATE)
    assert measure(driven.track, RATE).height == pytest.approx(measure(target, RATE).height, rel=0.02)
    assert driven.scale_close == pytest.approx(0.5, rel=0.02)


def test_confidences_and_invalid_frames_are_kept() -> None:
    source, target = dancing(FRAMES), dancing(FRAMES, height=200, seed=5)
    source.keypoints[:, 91:112, 2] = 0.4
    source.valid[10:20] = False
    driven = normalize(source, RATE, target, RATE, "limbs").track
    np.testing.assert_array_equal(driven.valid, source.valid)
    np.testing.assert_array_equal(driven.keypoints[source.valid][:, :, 2], source.keypoints[source.valid][:, :, 2])
    assert (driven.keypoints[~source.valid] == 0).all()
    assert (driven.width, driven.height) == (target.width, target.height)


def test_limbs_take_the_target_s_bones_and_the_source_s_angles() -> None:
    source, target = dancing(FRAMES, seed=1), dancing(FRAMES, seed=2)
    # The target's arms are longer by a half.
    for elbow, wrist, shoulder in ((7, 9, 5), (8, 10, 6)):
        for joint in (elbow, wrist):
            target.keypoints[:, joint, :2] += 0.5 * (target.keypoints[:, joint, :2] - target.keypoints[:, shoulder, :2])
    driven = normalize(source, RATE, target, RATE, "limbs").track
    plain = normalize(source, RATE, target, RATE, "global").track

    def arm(track: PoseTrack) -> Floats:
        return (track.keypoints[:, 9, :2] - track.keypoints[:, 7, :2]).astype(np.float64)

    length = np.hypot(*arm(driven).T) / np.hypot(*arm(plain).T)
    assert length.mean() == pytest.approx(1.5, rel=0.08)
    np.testing.assert_allclose(np.arctan2(*arm(driven).T), np.arctan2(*arm(plain).T), atol=1e-3)
    # The feet stand where they stood; the hand is as far from its wrist as the arm is longer.
    np.testing.assert_allclose(
        driven.keypoints[:, [15, 16], 1].max(axis=1), plain.keypoints[:, [15, 16], 1].max(axis=1), atol=1.5
    )


def test_a_crouch_and_a_lifted_leg_change_no_scale() -> None:
    upright, target = dancing(FRAMES, seed=1), dancing(FRAMES, height=300, seed=2)
    before = normalize(upright, RATE, target, RATE)
    crouching = replace(upright, keypoints=upright.keypoints.copy())
    # For half a second the hips sink by a fifth of the height, the knees go out: bones keep their lengths in space.
    crouching.keypoints[20:32, :13, 1] += 80
    crouching.keypoints[20:32, 91:, 1] += 80
    crouching.keypoints[40:50, 16, 1] -= 120  # a lifted ankle
    after = normalize(crouching, RATE, target, RATE)
    assert after.scale_close == pytest.approx(before.scale_close, rel=0.03)
    assert after.scale_far == pytest.approx(before.scale_far, rel=0.03)


def test_a_jump_leaves_the_target_s_floor() -> None:
    source, target = dancing(FRAMES, seed=1), dancing(FRAMES, height=200, seed=2)
    source.keypoints[30:36, :, 1] -= 60
    driven = normalize(source, RATE, target, RATE).track
    ankles = driven.keypoints[:, [15, 16], 1].max(axis=1)
    assert ankles[33] < ankles[20] - 60 * 0.5 * 0.8


def test_walking_away_from_the_camera_makes_the_dancer_smaller() -> None:
    source = dancing(120, height=300, depth=60)
    target = dancing(120, height=250, floor=560, depth=50, seed=3)
    driven = normalize(source, RATE, target, RATE).track
    level = driven.keypoints[:, [15, 16], 1].max(axis=1)
    height = level - driven.keypoints[:, 0, 1]
    assert np.corrcoef(level, height)[0, 1] > 0.95
    theirs = target.keypoints[:, [15, 16], 1].max(axis=1)
    assert level.min() == pytest.approx(theirs.min(), abs=25)
    assert level.max() == pytest.approx(theirs.max(), abs=25)


def test_who_crosses_far_more_than_the_picture_stays_in_it() -> None:
    source = dancing(FRAMES, height=300, width_px=1280)
    keypoints = source.keypoints.copy()
    keypoints[:, :, 0] += np.where(keypoints[:, :, 2] > 0, np.linspace(0, 6000, FRAMES)[:, None], 0)
    target = dancing(FRAMES, height=500, width_px=400, x=200)
    driven = normalize(PoseTrack(keypoints, source.valid, 1280, 720), RATE, target, RATE)
    trunk = driven.track.keypoints[:, [5, 6, 11, 12], 0]
    inside = ((trunk >= 0) & (trunk <= target.width - 1)).all(axis=1)
    assert inside.mean() >= 0.95
    assert "wider than the target's picture: its travel was compressed to" in driven.warnings[0]


def test_a_dance_wider_than_the_picture_is_compressed_and_said_so() -> None:
    source = dancing(FRAMES, height=100, travel=300, width_px=1280)
    target = dancing(FRAMES, height=400, seed=2)
    driven = normalize(source, RATE, target, RATE)
    assert "compressed to" in driven.warnings[0] or "wider than" in driven.warnings[0]


def test_raised_hands_stay_in_view_by_a_smaller_dancer() -> None:
    source = dancing(FRAMES)
    up = standing()[9] * [0, 0, 0] + [0.1, -1.35, 1]
    source.keypoints[:, 9, :2] = up[:2] * 400 + [320, 600]
    target = dancing(FRAMES, height=560, floor=700, seed=2)
    driven = normalize(source, RATE, target, RATE)
    assert "as tall as the target" in driven.warnings[0]
    assert driven.track.keypoints[:, 9, 1].min() > -30


def test_a_clip_without_feet_still_drives() -> None:
    source, target = dancing(FRAMES, seed=1), dancing(FRAMES, height=300, seed=2)
    source.keypoints[:, 13:23] = 0
    driven = normalize(source, RATE, target, RATE)
    assert any("the feet of the source were never seen" in warning for warning in driven.warnings)
    hips = driven.track.keypoints[:, 11, 1].mean()
    assert hips == pytest.approx(target.keypoints[:, 11, 1].mean(), abs=40)


def test_mistakes() -> None:
    track = dancing(10)
    with pytest.raises(InvalidOption, match="global, limbs"):
        normalize(track, RATE, track, RATE, "sideways")
    nobody = replace(track, valid=np.zeros(10, np.bool_))
    with pytest.raises(NoPersonFound, match="10 of 10 frames of the target"):
        normalize(track, RATE, nobody, RATE)


HEAD = [1, 2, 3, 4, *range(23, 91)]


def big_headed(track: PoseTrack, factor: float) -> PoseTrack:
    keypoints = track.keypoints.copy()
    keypoints[:, HEAD, :2] = keypoints[:, :1, :2] + factor * (keypoints[:, HEAD, :2] - keypoints[:, :1, :2])
    keypoints[track.keypoints[:, :, 2] == 0] = 0
    return replace(track, keypoints=keypoints)


@pytest.mark.parametrize("mode", MODES)
def test_the_head_is_as_large_as_the_target_s(mode: str) -> None:
    source, target = dancing(FRAMES, seed=1), dancing(FRAMES, height=250, seed=2)
    plain, large = (normalize(source, RATE, each, RATE, mode).track for each in (target, big_headed(target, 1.3)))
    nose = plain.keypoints[:, :1, :2].astype(np.float64)
    # Against a head of its own size: the source's, at the body's scale.
    np.testing.assert_allclose(
        large.keypoints[:, HEAD, :2] - nose, 1.3 * (plain.keypoints[:, HEAD, :2] - nose), atol=0.1
    )
    body = [0, *range(5, 23), *range(91, 133)]
    np.testing.assert_allclose(large.keypoints[:, body], plain.keypoints[:, body], atol=0.05)


def test_a_head_whose_size_is_not_known_goes_with_the_body() -> None:
    source, target = dancing(FRAMES, seed=1), big_headed(dancing(FRAMES, seed=2), 1.3)
    target.keypoints[:, 23:91, 2] *= 0.1  # too far away for a face
    driven = normalize(source, RATE, target, RATE)
    offset = (source.keypoints[:, HEAD, :2] - source.keypoints[:, :1, :2]) * np.float32(driven.scale_close)
    np.testing.assert_allclose(
        driven.track.keypoints[:, HEAD, :2] - driven.track.keypoints[:, :1, :2], offset, atol=0.1
    )


def test_a_head_seen_in_profile_is_as_large_as_one_seen_from_before() -> None:
    source, target = dancing(FRAMES, seed=1), dancing(FRAMES, seed=2)
    target.keypoints[:, [31, 50], 0] = target.keypoints[:, :1, 0]  # chin and bridge, above each other
    turned = replace(target, keypoints=target.keypoints.copy())
    beside = turned.keypoints[:, HEAD, 0] - turned.keypoints[:, :1, 0]
    turned.keypoints[:, HEAD, 0] = turned.keypoints[:, :1, 0] + 0.2 * beside
    turned.keypoints[:, 3:5, 0] += 30.0  # both ears are behind the nose
    plain, other = (normalize(source, RATE, each, RATE).track for each in (target, turned))
    np.testing.assert_allclose(other.keypoints, plain.keypoints, atol=0.5)


def test_a_head_without_a_nose_stays_where_it_is() -> None:
    source, target = dancing(FRAMES, seed=1), big_headed(dancing(FRAMES, seed=2), 1.3)
    source.keypoints[5, 0] = 0.0
    driven = normalize(source, RATE, target, RATE)
    apart = np.ptp(driven.track.keypoints[:, 23:91, 0], axis=1) / np.ptp(source.keypoints[:, 23:91, 0], axis=1)
    assert apart[5] == pytest.approx(driven.scale_close, rel=0.01)
    assert apart[6] > 1.1 * driven.scale_close
