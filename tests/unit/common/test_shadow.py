"""A shadow is found again as it was cast, none is found where there is none, and it falls where the feet stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.shadow import Shadow, feet_of, fit_shadow
from services.common.skeleton import FEET, LEFT_ANKLE, RIGHT_ANKLE
from services.common.tracks import CameraPath, PoseTrack
from tests.unit.trainer.figure import make_plate

WIDTH, HEIGHT, COUNT = 320, 240, 24
BODY = 160.0
CAST = Shadow(0.4, 0.1 * BODY, 0.035 * BODY, 0.02 * BODY, BODY)
STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
Picture = NDArray[np.uint8]


def _track(lifted_px: float = 0.0) -> PoseTrack:
    """Somebody who walks to the right; the left foot is `lifted_px` above the floor in the second half."""
    keypoints = np.zeros((COUNT, 133, 3), np.float32)
    for t in range(COUNT):
        x, lift = 90.0 + 6.0 * t, lifted_px * (t >= COUNT // 2)
        keypoints[t, 0] = (x, 210.0 - BODY, 1.0)
        for ankle, first, side, up in ((LEFT_ANKLE, FEET.start, 15.0, lift), (RIGHT_ANKLE, FEET.start + 3, -15.0, 0.0)):
            keypoints[t, ankle] = (x + side, 204.0 - up, 1.0)
            keypoints[t, first : first + 3] = (x + side, 210.0 - up, 1.0)
    return PoseTrack(keypoints, np.ones(COUNT, np.bool_), WIDTH, HEIGHT)


def _film(track: PoseTrack, shadow: Shadow | None, noise: float = 3.0) -> Iterator[tuple[int, Picture, Picture]]:
    random, plate, feet = np.random.default_rng(5), make_plate(WIDTH, HEIGHT), feet_of(track, BODY)
    for t in range(COUNT):
        picture = shadow.cast(plate, feet[t], STILL) if shadow else plate
        noisy = picture + random.normal(0.0, noise, picture.shape)
        yield t, np.clip(np.rint(noisy), 0, 255).astype(np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)


def _fit(track: PoseTrack, shadow: Shadow | None) -> Shadow | None:
    camera = CameraPath.identity(COUNT, WIDTH, HEIGHT)
    return fit_shadow(track, camera, make_plate(WIDTH, HEIGHT), _film(track, shadow))


def test_a_shadow_is_found_as_it_was_cast() -> None:
    found = _fit(_track(), CAST)
    assert found is not None
    assert found.strength == pytest.approx(CAST.strength, rel=0.15)
    assert (found.across, found.down, found.above) == pytest.approx((CAST.across, CAST.down, CAST.above), rel=0.05)
    assert Shadow.from_json(found.to_json()) == found


def test_no_shadow_is_found_where_there_is_none() -> None:
    assert _fit(_track(), None) is None
    nobody = replace(_track(), valid=np.zeros(COUNT, np.bool_))
    assert _fit(nobody, None) is None


def test_it_falls_under_the_feet_and_nowhere_else() -> None:
    plate, feet = np.full((HEIGHT, WIDTH, 3), 200, np.uint8), feet_of(_track(), BODY)
    shaded = CAST.cast(plate, feet[0], STILL)
    x, y = round(feet[0, 0, 0]), round(feet[0, 0, 1] - CAST.above)
    assert shaded[y, x, 0] == pytest.approx(200 * (1 - CAST.strength), abs=3)
    assert (shaded[: 210 - 60] == 200).all()
    assert (plate == 200).all()
    twice = np.array([[2.0, 0.0, -100.0], [0.0, 2.0, -200.0]])
    enlarged = CAST.cast(plate, feet[0], twice)
    assert enlarged[2 * y - 200, 2 * x - 100, 0] == pytest.approx(200 * (1 - CAST.strength), abs=3)


def test_a_lifted_foot_has_a_fainter_one_and_feet_out_of_sight_none() -> None:
    feet = feet_of(_track(lifted_px=0.12 * BODY), BODY)
    assert feet[0, 0, 2] == pytest.approx(1.0)
    assert feet[-1, 0, 2] == pytest.approx(np.exp(-2.0), rel=0.01)
    assert feet[-1, 1, 2] == pytest.approx(1.0)
    plate = make_plate(WIDTH, HEIGHT)
    away = np.array([[1.0, 0.0, 5000.0], [0.0, 1.0, 0.0]])
    assert np.array_equal(CAST.cast(plate, feet[0], away), plate)
    unknown = replace(_track(), valid=np.zeros(COUNT, np.bool_))
    assert (feet_of(unknown, BODY)[..., 2] == 0.0).all()
