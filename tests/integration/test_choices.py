"""What users choose on the command line: whom to follow, what is behind, how good it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from gateway.cli.exits import Exit
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.store import FileObjectStore
from services.common.synthetic import (
    ADA,
    BO,
    HALL,
    SOURCE_DANCE,
    STUDIO,
    TARGET_DANCE,
    SyntheticPair,
    compare_to_truth,
    render_clip,
)
from services.common.tracks import PoseTrack
from services.common.video import probe, read_frames
from services.common.video.write import write_video
from tests.integration.conftest import SOURCE_FRAMES, Finished
from tests.support.program import PROGRAM, Run, artifacts

RATE = 25
PERFORMER = "target-preview"


@pytest.fixture(scope="module")
def home(undisturbed: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(undisturbed.home, tmp_path_factory.mktemp("choices") / "home")


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pair's source dancer on the left, somebody else who dances otherwise on the right."""
    path = tmp_path_factory.mktemp("duo") / "duo.mp4"
    left = render_clip(ADA, SOURCE_DANCE, STUDIO, SOURCE_FRAMES, (240, 320), RATE)
    right = render_clip(BO, TARGET_DANCE, HALL, SOURCE_FRAMES, (240, 320), RATE)
    write_video((np.hstack([a.image, b.image]) for a, b in zip(left, right, strict=True)), path, Fraction(RATE))
    return path


def understudy(*arguments: object) -> Any:
    done = subprocess.run(
        [PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def driven(home: Path, run: Run) -> PoseTrack:
    store = Artifacts(FileObjectStore(home / "store"), home / "cache")
    key = next(each["key"] for each in run.result["artifacts"] if each["kind"] == "driven_track")
    return PoseTrack.from_arrays(store.open(ArtifactRef("driven_track", key)).read_arrays("track.safetensors"))


def test_of_two_people_the_one_chosen_is_followed(home: Path, duo: Path, pair: SyntheticPair, tmp_path: Path) -> None:
    found = understudy("people", duo, "-o", tmp_path / "people.jpg", "--home", home)
    assert [person["number"] for person in found["people"]] == [1, 2]
    number = {person["place"]: person["number"] for person in found["people"]}
    assert number.keys() == {"left", "right"}
    assert cv2.imread(found["sheet"]) is not None
    errors = {}
    for place, wish in (("left", "left"), ("right", str(number["right"]))):
        run = Run(
            duo, "--performer", PERFORMER, "--source-person", wish, "-o", tmp_path / f"{place}.mp4", "--home", home
        )
        assert run.wait() == 0, run.events[-3:]
        (said,) = (line for line in run.result["warnings"] if "2 people were seen in the source" in line)
        assert f"number {number[place]} was followed" in said
        assert "--source-person NUMBER" in said
        track = driven(home, run)
        errors[place] = compare_to_truth(track.keypoints, track.valid, pair.truth_json).mean_placed
    assert errors["left"] < 0.08
    assert errors["right"] > 1.5 * errors["left"], "the other one dances otherwise"


def test_looking_again_costs_nothing(home: Path, duo: Path, tmp_path: Path) -> None:
    before = artifacts(home)
    understudy("people", duo, "-o", tmp_path / "people.jpg", "--home", home)
    assert artifacts(home) == before


def test_a_transparent_result_and_the_sources_place(home: Path, pair: SyntheticPair, tmp_path: Path) -> None:
    common = ("--performer", PERFORMER, "--home", home)
    webm = Run(pair.source, *common, "--background", "transparent", "-o", tmp_path / "out.webm")
    assert webm.wait() == 0, webm.events[-3:]
    decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(tmp_path / "out.webm")) as container:
        packet = next(iter(container.demux(container.streams.video[0])))
        (picture,) = decoder.decode(packet)
    alpha = picture.to_ndarray(format="rgba")[..., 3]
    assert alpha.shape == (320, 320)
    assert 0.01 < (alpha > 31).mean() < 0.8, "somebody is there, however faint after so short a training"
    assert (alpha < 8).mean() > 0.1, "and much of the frame is nothing"

    scene = Run(pair.source, *common, "--background", "source", "-o", tmp_path / "scene.mp4")
    assert scene.wait() == 0, scene.events[-3:]
    stages = [(each["role"], each["stage"]) for each in scene.result["stages"]]
    assert stages[3:5] == [("source", "segmentation"), ("source", "plate")]
    facts = probe(tmp_path / "scene.mp4", crop_bars=False)
    assert facts.geometry.size == (240, 320), "the source's frame"


def test_a_photograph_behind_the_dancer(home: Path, pair: SyntheticPair, tmp_path: Path) -> None:
    beach = np.zeros((200, 300, 3), np.uint8)
    beach[..., 0] = 200
    cv2.imwrite(str(tmp_path / "beach.png"), beach)
    run = Run(
        pair.source, "--performer", PERFORMER, "--background", tmp_path / "beach.png", "-o", tmp_path / "o.mp4",
        "--home", home,
    )  # fmt: skip
    assert run.wait() == 0, run.events[-3:]
    frame = next(picture for _, picture in read_frames(tmp_path / "o.mp4", probe(tmp_path / "o.mp4", crop_bars=False)))
    assert np.abs(frame[:20, :20].reshape(-1, 3).mean(axis=0) - [0, 0, 200]).max() < 12


def test_how_good_it_is_was_measured_with_the_transfer(home: Path, tmp_path: Path) -> None:
    before = artifacts(home)
    found = understudy("evaluate", PERFORMER, "-o", tmp_path / "report", "--home", home)
    assert artifacts(home) == before, "the transfer that trained it measured the same"
    rows = {row["name"]: row["metrics"] for row in found["rows"]}
    assert list(rows) == ["performer", "truth", "nearest", "draft"]
    assert rows["truth"]["ssim"] > 0.999 > rows["performer"]["ssim"]
    assert rows["truth"]["missed_poses"] < 0.2
    assert rows["truth"]["pose_distance"] < 0.05
    assert rows["performer"]["flicker_outside"] < 1 / 255
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"index.html", "comparison.mp4", "sheet.jpg", "evaluation.json"}
    shown = subprocess.run(
        [PROGRAM, "performers", "show", PERFORMER, "--home", home], capture_output=True, text=True, check=True
    )
    assert json.loads(shown.stdout)["metrics"] == rows["performer"]


def test_what_cannot_be_is_refused_before_anything_is_begun(pair: SyntheticPair, tmp_path: Path) -> None:
    for options, words in (
        (("--background", "transparent", "-o", "x.mp4"), "choose webm, or png"),
        (("--background", "beach.jpg", "-o", "x.mp4"), "no such file"),
        (("--background", "colour:red", "-o", "x.mp4"), "colour:#rrggbb"),
        (("--camera", "source", "-o", "x.mp4"), "needs the background source"),
        (("--source-person", "somebody", "-o", "x.mp4"), "--source-person somebody"),
    ):
        run = Run(pair.source, "--performer", PERFORMER, *options, "--home", tmp_path / "home")
        assert run.wait() == Exit.USAGE
        assert words in run.error["message"]
    assert not (tmp_path / "home").exists()
