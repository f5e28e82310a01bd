"""The numbered list of a clip's people, and the contact sheet that shows them."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.tracks import PoseTrack
from services.pose.association import associate
from services.pose.people import box_of, contact_sheet, describe, sheet_frames
from services.pose.subject import Identity, identities
from tests.support.figures import dancing
from tests.unit.pose.test_assemble import RATE, absent, clip_of


def people_of(*tracks: PoseTrack) -> list[Identity]:
    return identities(associate(clip_of(*tracks), RATE), RATE)


def test_a_person_is_described_by_number_place_size_and_box() -> None:
    large, small = dancing(40, x=150, height=400), absent(dancing(40, x=560, height=250, floor=500), *range(5))
    first, second = (describe(each, index, 640) for index, each in enumerate(people_of(large, small)))
    assert (first["number"], first["subject"], first["place"]) == (1, "", "left")
    assert (second["number"], second["subject"], second["place"]) == (2, "index:1", "right")
    assert (first["frame_count"], second["frame_count"]) == (40, 35)
    assert (second["first_frame"], second["last_frame"]) == (5, 39)
    assert first["size_px"] == pytest.approx(400, rel=0.1)
    box = second["box"]
    assert box["x"] < 540 < 580 < box["x"] + box["width"]
    assert box["y"] < 250
    assert box["y"] + box["height"] > 500


def test_a_box_holds_every_sure_point_and_nobody_has_none() -> None:
    pose = dancing(1).keypoints[0]
    left, top, right, bottom = box_of(pose) or (0, 0, 0, 0)
    known = pose[:23][pose[:23, 2] > 0.5]
    assert left < known[:, 0].min() < known[:, 0].max() < right
    assert top < known[:, 1].min() < known[:, 1].max() < bottom
    assert box_of(np.zeros((133, 3), np.float32)) is None


def test_three_in_a_row_who_are_lost_now_and_then_stay_three() -> None:
    middle = dancing(150, x=320, height=300)
    left, right = (dancing(150, x=x, height=250, floor=520, seed=x) for x in (80, 560))
    flickering = (absent(left, *range(20, 60), *range(90, 130)), absent(right, *range(24), *range(70, 88)))
    people = people_of(middle, *flickering)
    assert [person.place(640) for person in people] == ["middle", "right", "left"]
    assert [person.frame_count for person in people] == [150, 108, 70]


def test_whoever_is_in_none_of_the_even_frames_gets_one_more() -> None:
    steady, late = dancing(101, x=150), absent(dancing(101, x=500, height=300), *range(22), *range(38, 101))
    frames = sheet_frames(people_of(steady, late))
    assert {0, 20, 40, 60, 80, 100} < set(frames)
    assert len(frames) == 7
    assert any(22 <= frame < 38 for frame in frames)
    assert frames == sorted(frames)


def test_the_sheet_shows_a_box_of_another_colour_round_each() -> None:
    people = people_of(dancing(30, x=150), dancing(30, x=480, height=300, seed=2))
    pictures = {frame: np.full((720, 640, 3), 60, np.uint8) for frame in (0, 10, 29)}
    sheet = contact_sheet(pictures, people, RATE)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] <= 1920
    assert sheet.shape[1] > sheet.shape[0]
    for colour in ((255, 190, 60), (90, 200, 255)):
        drawn = np.abs(sheet.astype(np.int16) - colour).max(axis=2) < 20
        columns = np.flatnonzero(drawn.any(axis=0))
        tile = sheet.shape[1] // 3
        assert {int(column) // tile for column in columns} == {0, 1, 2}, "one box in each tile"


def test_portrait_and_landscape_and_a_single_frame_fit() -> None:
    people = people_of(dancing(30))
    for shape in ((1920, 1080, 3), (288, 384, 3), (100, 2000, 3)):
        for count in (1, 6, 12):
            sheet = contact_sheet({frame: np.zeros(shape, np.uint8) for frame in range(count)}, people, RATE)
            assert 0 < sheet.shape[1] <= 1920
