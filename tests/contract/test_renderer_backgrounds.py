"""Backgrounds over the renderer's real protocol, by a generator that paints the whole window."""

from __future__ import annotations

import zipfile
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from understudy.v1 import renderer_pb2

from services.common import rpc
from services.common.artifacts import ArtifactRef
from services.common.camera import transform_points, warp
from services.common.errors import InvalidOption
from services.common.frames import read_shard
from services.common.shards import MATTES_NAME
from services.renderer.backdrop import Backdrop
from services.renderer.scenery import open_scenery
from tests.contract.test_renderer import FRAMES, Running, model, running  # noqa: F401 - fixtures
from tests.support.clips import store_clip

Background = renderer_pb2.Background


async def refusal(call: Any) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return rpc.from_rpc_error(error.value)


async def test_a_colour_is_everywhere_that_the_person_is_not(running: Running) -> None:  # noqa: F811
    plain = running.shown(await running.render(0, 4))
    green = running.shown(await running.render(0, 4, Background(kind="colour", colour="#00C000")))
    for frame, picture in green.items():
        untouched = (np.abs(plain[frame].astype(int) - running.study.plate) <= 8).all(axis=2)
        corner = picture[:6, :6].reshape(-1, 3).mean(axis=0)
        assert np.abs(corner - [0, 192, 0]).max() < 6
        assert (np.abs(picture.astype(int) - [0, 192, 0]).max(axis=2) < 40)[untouched].mean() > 0.9
        assert not np.array_equal(picture, plain[frame])


async def test_transparent_frames_keep_colour_and_alpha_apart(running: Running) -> None:  # noqa: F811
    response = await running.render(0, FRAMES, Background(kind="transparent"))
    assert response.has_alpha
    colours = running.shown(response)
    artifact = running.artifacts.open(rpc.to_ref(response.artifact))
    alphas = dict(read_shard(artifact.local_path(MATTES_NAME)))
    assert sorted(alphas) == sorted(colours) == list(range(FRAMES))
    plain = running.shown(await running.render(0, FRAMES))
    cover = alphas[3][..., None] / 255.0
    assert 0.05 < cover.mean() < 0.95
    over = colours[3] * cover + running.study.plate * (1 - cover)
    assert np.abs(over - plain[3]).mean() < 4
    refused = await refusal(running.encode([response], format="mp4"))
    assert isinstance(refused, InvalidOption)
    assert "choose webm, or png" in str(refused)
    webm = await running.encode([response], format="webm")
    assert (webm.frame_count, webm.has_audio) == (FRAMES, True)
    beside = await running.encode([response], format="mp4", layout="side_by_side")
    assert beside.frame_count == FRAMES
    video = await running.encode([response], format="png")
    assert (video.object_name, video.frame_count, video.has_audio) == ("frames.zip", FRAMES, False)
    path = running.artifacts.open(rpc.to_ref(video.artifact)).local_path(video.object_name)
    with zipfile.ZipFile(path) as archive:
        data = np.frombuffer(archive.read("000003.png"), np.uint8)
    found: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert np.array_equal(found[..., 3], alphas[3])


async def test_a_video_plays_behind_the_person_whatever_the_shards(running: Running) -> None:  # noqa: F811
    shades = [np.full((90, 90, 3), 10 * index, np.uint8) for index in range(8)]
    clip = rpc.from_ref(store_clip(running.artifacts, shades, rate=12))
    background = Background(kind="clip", clip=clip, source_clip=rpc.from_ref(running.source.clip))
    whole = running.shown(await running.render(0, FRAMES, background))
    shown = [round(int(whole[frame][0, 0, 0]) / 10) for frame in range(FRAMES)]
    assert shown == [int(frame * 12 * 1001 / 24000) % 8 for frame in range(FRAMES)]
    part = running.shown(await running.render(9, 5, background))
    assert all(np.array_equal(part[frame], whole[frame]) for frame in part)


async def test_the_camera_of_the_target_moves_person_and_plate_together(running: Running) -> None:  # noqa: F811
    clip = rpc.from_ref(running.source.clip)
    background = Background(camera=rpc.from_ref(running.source.camera), camera_clip=clip, source_clip=clip)
    moved = running.shown(await running.render(0, FRAMES, background))
    steady = running.shown(await running.render(0, FRAMES))
    order = Backdrop(camera=running.source.camera, camera_clip=running.source.clip, source_clip=running.source.clip)
    scenery = open_scenery(running.artifacts, order, running.study.plate, running.study.track)
    height, width = running.study.plate.shape[:2]
    for frame in (0, FRAMES - 1):
        view = scenery.view(frame, frame)
        expected = warp(steady[frame], view, (width, height)).astype(int)
        assert np.abs(moved[frame] - expected).mean() < 5, "person and plate move as one picture"
        assert np.abs(moved[frame] - expected).mean() < 0.5 * np.abs(moved[frame].astype(int) - steady[frame]).mean()
    drift = scenery.view(FRAMES - 1, 0)[0, 2] - scenery.view(0, 0)[0, 2]
    assert drift == pytest.approx(-running.study.camera.matrices[FRAMES - 1, 0, 2] * scenery.view(0, 0)[0, 0])


async def test_a_scene_has_the_sources_size_and_the_person_where_its_dancer_was(running: Running) -> None:  # noqa: F811
    refs = running.source
    background = Background(
        kind="scene",
        plate=rpc.from_ref(refs.plate),
        source_track=rpc.from_ref(refs.track),
        source_camera=rpc.from_ref(refs.camera),
    )
    response = await running.render(0, FRAMES, background)
    picture = running.shown(response)[5]
    assert picture.shape == running.study.plate.shape
    changed = np.abs(picture.astype(int) - running.study.plate).max(axis=2) > 30
    body = transform_points(running.study.camera.matrices[5], running.study.track.keypoints[5, 5:17, :2])
    rows, columns = np.nonzero(changed)
    assert abs(columns.mean() - body[:, 0].mean()) < 15
    assert abs(rows.mean() - body[:, 1].mean()) < 15


async def test_what_does_not_fit_together_is_refused(running: Running) -> None:  # noqa: F811
    clip = rpc.from_ref(running.source.clip)
    for wrong in (
        Background(kind="beach"),
        Background(kind="colour", colour="red"),
        Background(kind="clip", clip=clip),
        Background(kind="clip", clip=rpc.from_ref(ArtifactRef("plate", "0" * 64)), source_clip=clip),
    ):
        assert isinstance(await refusal(running.render(0, 4, wrong)), InvalidOption)
