"""Backgrounds frame by frame: cameras that move, pictures that cover, videos in a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.artifacts import ArtifactRef, Artifacts
from services.common.camera import invert
from services.common.errors import InvalidOption
from services.common.tracks import CameraPath
from services.renderer.backdrop import Backdrop
from services.renderer.scenery import Place, covering, open_scenery, to_and_fro
from services.renderer.worker import RenderRequest, rendered_recipe
from tests.support.clips import store_camera, store_clip
from tests.support.figures import dancing
from tests.unit.trainer.figure import make_plate

DRIVEN = dancing(40)


def ref(kind: str, digit: str) -> ArtifactRef:
    return ArtifactRef(kind, digit * 64)


@given(count=st.integers(1, 40), frame=st.integers(0, 500))
def test_a_path_walked_to_and_fro_never_jumps(count: int, frame: int) -> None:
    here, there = to_and_fro(frame, count), to_and_fro(frame + 1, count)
    assert 0 <= here < count
    assert abs(here - there) <= 1
    assert to_and_fro(min(frame, count - 1), count) == min(frame, count - 1)


def test_a_plate_under_the_targets_camera_moves_as_it_was_filmed(artifacts: Artifacts) -> None:
    plate = make_plate(160, 120)
    path = CameraPath.identity(30, 160, 120)
    path.matrices[:, 0, 2] = 4 * np.sin(np.arange(30) / 5)
    clip = store_clip(artifacts, [plate] * 3, rate=25)
    backdrop = Backdrop(camera=store_camera(artifacts, path), camera_clip=clip, source_clip=clip)
    scenery = open_scenery(artifacts, backdrop, plate, DRIVEN)
    zoom = scenery.view(0, 0)[0, 0]
    assert 1.0 < zoom < 1.15
    shifts = np.array([scenery.view(frame, 0)[0, 2] for frame in range(30)])
    expected = -zoom * path.matrices[:, 0, 2]
    assert np.allclose(shifts - shifts[0], expected - expected[0], atol=1e-6)
    assert not np.array_equal(scenery.behind(0), scenery.behind(8))
    corners = np.array([[0, 0, 1], [159, 119, 1]]).T
    for frame in range(30):
        seen = invert(scenery.view(frame, 0)) @ corners
        assert (seen >= -0.1).all(), "beyond the plate's edge"
        assert (seen <= np.array([[159.1], [119.1]])).all()


def test_a_camera_path_keeps_its_own_speed(artifacts: Artifacts) -> None:
    plate = make_plate(160, 120)
    path = CameraPath.identity(20, 160, 120)
    path.matrices[:, 0, 2] = 0.2 * np.arange(20)
    target, source = (store_clip(artifacts, [plate] * count, rate=rate) for count, rate in ((2, 10), (3, 25)))
    backdrop = Backdrop(camera=store_camera(artifacts, path), camera_clip=target, source_clip=source)
    scenery = open_scenery(artifacts, backdrop, plate, DRIVEN)
    moved = scenery.view(25, 0)[0, 2] - scenery.view(0, 0)[0, 2]  # a second
    assert moved == pytest.approx(-2.0 * scenery.view(0, 0)[0, 0], abs=1e-6)


def test_a_steady_place_is_its_picture_and_is_never_drawn_on() -> None:
    plate = make_plate(160, 120)
    place = Place(plate, None, None)
    assert place.behind(7) is plate
    assert np.array_equal(place.view(7, 3), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("shape", [(60, 200), (200, 60), (120, 160), (30, 40)])
def test_a_picture_covers_the_frame_about_its_middle(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    picture[shape[0] // 2 - 3 : shape[0] // 2 + 3, shape[1] // 2 - 3 : shape[1] // 2 + 3] = 255
    picture[..., 2] = 90
    shown = covering(picture, 160, 120)
    assert shown.shape == (120, 160, 3)
    assert (np.abs(shown[..., 2].astype(int) - 90) <= 1)[0].all(), "no empty edge"
    rows, columns = np.nonzero(shown[..., 0] > 127)
    assert abs(rows.mean() - 59.5) < 1.5
    assert abs(columns.mean() - 79.5) < 1.5


def test_a_video_runs_at_its_own_speed_in_a_loop(artifacts: Artifacts) -> None:
    shades = [np.full((60, 80, 3), 20 * index, np.uint8) for index in range(10)]
    clip, source = store_clip(artifacts, shades, rate=10), store_clip(artifacts, shades[:2], rate=25)
    scenery = open_scenery(artifacts, Backdrop("clip", clip=clip, source_clip=source), make_plate(160, 120), DRIVEN)
    shown = [round(int(scenery.behind(frame)[60, 80, 0]) / 20) for frame in range(60)]
    assert shown[:8] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert shown[25:] == shown[:35]
    still = store_clip(artifacts, shades[5:6], rate=25)
    picture = open_scenery(artifacts, Backdrop("clip", clip=still, source_clip=source), make_plate(160, 120), DRIVEN)
    assert picture.behind(0) is picture.behind(900)


def test_what_does_not_fit_together_is_refused() -> None:
    clip = ref("clip", "1")
    for wrong in (
        {"kind": "beach"}, {"kind": "colour"}, {"kind": "colour", "colour": "green"}, {"colour": "#00ff00"},
        {"kind": "clip"}, {"kind": "clip", "clip": clip}, {"kind": "scene", "plate": ref("plate", "2")},
        {"camera": ref("camera_path", "3")},
        {"kind": "colour", "colour": "#00ff00", "camera": ref("camera_path", "3"), "camera_clip": clip,
         "source_clip": clip},
    ):  # fmt: skip
        with pytest.raises(InvalidOption):
            Backdrop(**wrong)


def test_everything_that_decides_the_picture_is_in_the_key_and_nothing_else() -> None:
    performer, driven, clip = ref("performer", "1"), ref("driven_track", "2"), ref("clip", "3")
    path = ref("camera_path", "4")
    asked = [
        Backdrop(), Backdrop("colour", "#00ff00"), Backdrop("colour", "#00ff01"), Backdrop("transparent"),
        Backdrop("clip", clip=clip, source_clip=clip), Backdrop("clip", clip=ref("clip", "5"), source_clip=clip),
        Backdrop(camera=path, camera_clip=clip, source_clip=clip),
        Backdrop("scene", plate=ref("plate", "6"), source_track=ref("pose_track", "7"), source_camera=path),
    ]  # fmt: skip
    keys = [rendered_recipe(RenderRequest(performer, driven, 0, 64, each)).key for each in asked]
    assert len(set(keys)) == len(keys)
    assert rendered_recipe(RenderRequest(performer, driven, 0, 64)).key == keys[0]
    assert rendered_recipe(RenderRequest(performer, driven, 0, 64, Backdrop(source_clip=clip))).key == keys[0]
