"""A generator that goes on from its last picture: what it shows in a frame depends on that frame alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.common.artifacts import Artifacts, Recipe
from services.common.errors import DataCorrupted, InvalidOption
from services.common.nn.generator import Generator, GeneratorConfig
from services.common.nn.pix2pixhd import Pix2PixHD
from services.common.nn.window import fit_window
from services.common.puppet import References, enlarged, open_references, put_references
from services.common.stage import Job
from services.common.store import MemoryObjectStore
from services.common.tracks import PoseTrack
from services.renderer.backdrop import PLATE, Backdrop
from services.renderer.families import DraftWindows, HeldPoses, Windows, open_windows
from services.renderer.runtimes.openvino import OpenVino
from services.renderer.worker import Renderer, RenderRequest, rendered_recipe
from services.trainer.export import export_onnx
from tests.support.studies import store_track
from tests.unit.common.nn.test_pix2pixhd import CONFIG
from tests.unit.trainer.figure import make_pose, make_study

FRAMES = 70


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    torch.manual_seed(5)
    anchor = Pix2PixHD(CONFIG)
    for parameter in anchor.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    artifacts = Artifacts(MemoryObjectStore(), tmp_path_factory.mktemp("cache"))
    writer = artifacts.write(Recipe("performer", "test", 1, {}, {}))
    writer.put_bytes("generator.onnx", export_onnx(anchor, 64))
    performer = artifacts.commit(writer, {})
    poses = np.stack([make_pose(t / 4.0, 160, 120) for t in range(FRAMES)])
    track = PoseTrack(poses, np.ones(FRAMES, dtype=np.bool_), 160, 120)
    return open_windows(performer, {"family": "pix2pixhd"}, fit_window(track, 64, still=True), track, 1, OpenVino(1))


def test_a_frame_is_the_same_alone_and_after_those_before_it(windows: Windows) -> None:
    whole = windows(np.arange(FRAMES))
    assert not np.array_equal(whole[10], whole[11])
    for alone in (69, 3, 64, 65, 63):
        assert np.array_equal(windows(np.array([alone]))[0], whole[alone]), alone


def test_runs_join_unseen(windows: Windows) -> None:
    whole = windows(np.arange(FRAMES)).astype(np.float64)
    steps = np.abs(np.diff(whole, axis=0)).mean((1, 2, 3))
    assert steps[63] < 1.5 * np.median(steps)


def test_poses_are_held_where_they_mean_nothing() -> None:
    poses = np.stack([make_pose(t / 4.0, 160, 120) for t in range(12)])
    valid = np.ones(12, dtype=np.bool_)
    valid[[0, 5, 6, 11]] = False
    track = PoseTrack(poses, valid, 160, 120)
    window = fit_window(track, 64)
    held = HeldPoses(window, track, 2)
    assert len(held) == 12
    frames = np.arange(12)
    expected = enlarged(window.keypoints(track), 2)[[1, 1, 2, 3, 4, 4, 4, 7, 8, 9, 10, 10]]
    assert np.array_equal(held[frames], expected)
    assert np.array_equal(held[frames[3:6]], expected[3:6])


def test_the_performer_says_how_much_of_the_draft_is_shown(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    study = make_study(8)
    registered = study.track.transformed(study.camera.matrices)
    window = fit_window(registered, 64)
    writer = artifacts.write(Recipe("performer", "test", 1, {}, {}))
    writer.put_bytes("generator.onnx", export_onnx(Generator(GeneratorConfig((16, 32, 32))), 64))
    picture = np.dstack([np.full((64, 64, 3), (250, 10, 130)), np.full((64, 64), 255)]).astype(np.uint8)
    put_references(writer, References(picture[None], window.keypoints(registered)[:1]))
    performer, frames = artifacts.commit(writer, {}), np.arange(4)

    def shown(**share: float) -> NDArray[np.float32]:
        config = {"family": "composite", "resolution": 64, **share}
        return open_windows(performer, config, window, registered, 1, OpenVino(1))(frames)

    before, none, half, whole = shown(), shown(draft_share=0.0), shown(draft_share=0.5), shown(draft_share=1.0)
    assert np.array_equal(before, none)
    assert np.array_equal(none[..., 3], whole[..., 3])
    drawn = DraftWindows(open_references(performer), window, registered, 1, 64)(frames)
    body = drawn[..., 3] > 0.99
    off = [np.abs(each[..., :3] - picture[0, 0, :3] / 255.0)[body].mean() for each in (none, half, whole)]
    assert off[2] < 0.05 < 0.7 * off[1] < 0.6 * off[0]
    mean = shown(draft_share=1.0, draft_outline=0.5)[..., 3]
    assert np.abs(mean - 0.5 * (none + drawn)[..., 3])[body].max() < 0.1
    assert np.array_equal(shown(draft_share=1.0, draft_outline=1.0), drawn)


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    performer = artifacts.commit(artifacts.write(Recipe("performer", "test", 1, {}, {})), {})
    track = PoseTrack(np.stack([make_pose(0.0, 160, 120)]), np.ones(1, dtype=np.bool_), 160, 120)
    with pytest.raises(DataCorrupted, match="'diffusion'"):
        open_windows(performer, {"family": "diffusion"}, fit_window(track, 64), track, 1, OpenVino(1))


def test_a_performer_that_paints_its_background_is_rendered_and_never_cut_out(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    study = make_study(8)
    registered = study.track.transformed(study.camera.matrices)
    window = fit_window(registered, 64, still=True)
    writer = artifacts.write(Recipe("performer", "test", 1, {}, {}))
    writer.put_bytes("generator.onnx", export_onnx(Pix2PixHD(CONFIG), 64))
    writer.put_bytes("plate.png", cv2.imencode(".png", study.plate)[1].tobytes())
    writer.put_json("config.json", {
        "format": 1, "family": "pix2pixhd", "resolution": 64, "scale": window.scale, "multiple": CONFIG.multiple,
        "centre": window.centre.tolist(),
    })  # fmt: skip
    performer = artifacts.commit(writer, {}).ref
    driven = store_track(artifacts, registered, "driven_track", "dance")

    def rendered(backdrop: Backdrop) -> int:
        request = RenderRequest(performer, driven, 0, 8, backdrop)
        facts = Renderer(artifacts, 1).render(request, Job(), artifacts.write(rendered_recipe(request)))
        return int(facts["rendered_count"])

    assert rendered(PLATE) == 8
    with pytest.raises(InvalidOption, match="its own background"):
        rendered(Backdrop("transparent"))
