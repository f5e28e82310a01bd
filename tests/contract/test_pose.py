"""The pose service over its real protocol: started on a free port, called by a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import pose_pb2, pose_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import ArtifactNotFound, InvalidOption, NoPersonFound, UnderstudyError
from services.common.server import Service, open_runner, start
from services.common.synthetic import ADA, BO, HALL, SOURCE_DANCE, STUDIO, TARGET_DANCE, render_clip
from services.common.tracks import PoseTrack
from services.pose.config import PoseSettings
from services.pose.servicer import PoseServicer
from services.pose.worker import Pose
from tests.support.clips import store_clip

RATE = 25
FRAMES = 70  # more than one shard
SIZE = (216, 288)


@dataclass(frozen=True)
class Running:
    stub: pose_pb2_grpc.PoseServiceAsyncStub
    channel: grpc.aio.Channel
    artifacts: Artifacts


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    settings = PoseSettings(
        store_url=f"file://{tmp_path}/store", cache_dir=tmp_path / "cache", metrics_port=-1, pose_threads=2
    )
    runner = open_runner(settings)
    worker = Pose(runner.artifacts, settings.weights_dir, settings.pose_backend, settings.threads)
    servicer = PoseServicer(runner, worker)
    service = Service(
        name="pose",
        grpc_name="understudy.v1.PoseService",
        register=lambda server: pose_pb2_grpc.add_PoseServiceServicer_to_server(servicer, server),
        load=worker.load,
        runner=runner,
    )
    server = await start(service, settings)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Running(pose_pb2_grpc.PoseServiceStub(channel), channel, runner.artifacts)
    await server.stop(5)


def shards_of(artifacts: Artifacts, clip: ArtifactRef) -> list[ArtifactRef]:
    return [ArtifactRef(**shard["artifact"]) for shard in artifacts.open(clip).facts["shards"]]


async def error_of(call: Any) -> UnderstudyError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return rpc.from_rpc_error(caught.value)


async def test_it_serves_once_the_networks_are_loaded(running: Running) -> None:
    health: Any = health_pb2_grpc.HealthStub(running.channel)
    request = health_pb2.HealthCheckRequest(service="understudy.v1.PoseService")
    async with asyncio.timeout(30):
        async for update in health.Watch(request):
            if update.status == health_pb2.HealthCheckResponse.SERVING:
                break


async def test_from_frames_to_a_track_and_again(running: Running) -> None:
    drawn = list(render_clip(ADA, SOURCE_DANCE, STUDIO, FRAMES, SIZE, RATE))
    clip = store_clip(running.artifacts, [frame.image for frame in drawn], RATE)
    asks = [pose_pb2.EstimatePosesRequest(shard=rpc.from_ref(ref)) for ref in shards_of(running.artifacts, clip)]
    found = await asyncio.gather(*(running.stub.EstimatePoses(ask) for ask in asks))
    assert [each.frame_count for each in found] == [64, 6]
    assert [each.frames_with_people for each in found] == [64, 6]
    assert [each.most_people for each in found] == [1, 1]

    order = pose_pb2.AssembleTrackRequest(
        clip=rpc.from_ref(clip), pose_shards=[each.artifact for each in found], role="source"
    )
    track, twin = await asyncio.gather(running.stub.AssembleTrack(order), running.stub.AssembleTrack(order))
    assert track == twin
    assert (track.frame_count, track.valid_frame_count, track.people_seen) == (FRAMES, FRAMES, 1)
    arrays = running.artifacts.open(rpc.to_ref(track.artifact)).read_arrays("track.safetensors")
    keypoints = PoseTrack.from_arrays(arrays).keypoints
    truth = np.stack([frame.keypoints for frame in drawn])
    assert np.abs(keypoints[:, 5:17, :2] - truth[:, 5:17]).mean() < 0.04 * track.median_height_px

    assert await running.stub.EstimatePoses(asks[0]) == found[0]
    assert await running.stub.AssembleTrack(order) == track


async def test_two_dancers_are_numbered_and_each_can_be_followed(running: Running) -> None:
    small = (216, 288)
    left = list(render_clip(ADA, SOURCE_DANCE, STUDIO, 24, small, RATE))
    right = list(render_clip(BO, TARGET_DANCE, HALL, 24, small, RATE))
    beside = [np.hstack([a.image, b.image]) for a, b in zip(left, right, strict=True)]
    clip = store_clip(running.artifacts, beside, RATE)
    (shard,) = shards_of(running.artifacts, clip)
    found = await running.stub.EstimatePoses(pose_pb2.EstimatePosesRequest(shard=rpc.from_ref(shard)))
    assert found.most_people == 2
    order = pose_pb2.ListPeopleRequest(clip=rpc.from_ref(clip), pose_shards=[found.artifact])
    listed = await running.stub.ListPeople(order)
    assert await running.stub.ListPeople(order) == listed
    assert [person.number for person in listed.people] == [1, 2]
    assert {person.place for person in listed.people} == {"left", "right"}
    assert all(person.frame_count >= 20 for person in listed.people)
    sheet = running.artifacts.open(rpc.to_ref(listed.artifact)).read_bytes("sheet.jpg")
    assert cv2.imdecode(np.frombuffer(sheet, np.uint8), cv2.IMREAD_COLOR) is not None
    for person in listed.people:
        request = pose_pb2.AssembleTrackRequest(
            clip=order.clip, pose_shards=order.pose_shards, subject=str(person.number), role="source"
        )
        track = await running.stub.AssembleTrack(request)
        assert f"number {person.number} was followed" in track.warnings[0]
        drawn, shift = (left, 0.0) if person.place == "left" else (right, 216.0)
        truth = np.stack([frame.keypoints for frame in drawn])[:, 5:17] + np.array([shift, 0.0])
        arrays = running.artifacts.open(rpc.to_ref(track.artifact)).read_arrays("track.safetensors")
        keypoints = PoseTrack.from_arrays(arrays).keypoints[:, 5:17, :2]
        assert np.abs(keypoints - truth).mean() < 0.05 * track.median_height_px
        request.subject = person.subject
        assert await running.stub.AssembleTrack(request) == track, "the same person in other words is the same track"


async def test_nobody_is_a_list_without_people(running: Running) -> None:
    clip = store_clip(running.artifacts, [np.full((96, 128, 3), 90, np.uint8)] * 3)
    (shard,) = shards_of(running.artifacts, clip)
    found = await running.stub.EstimatePoses(pose_pb2.EstimatePosesRequest(shard=rpc.from_ref(shard)))
    listed = await running.stub.ListPeople(
        pose_pb2.ListPeopleRequest(clip=rpc.from_ref(clip), pose_shards=[found.artifact])
    )
    assert not listed.people
    assert running.artifacts.open(rpc.to_ref(listed.artifact)).names() == []


async def test_mistakes_come_back_as_themselves(running: Running) -> None:
    missing = rpc.from_ref(ArtifactRef("frame_shard", "0" * 64))
    ask = pose_pb2.EstimatePosesRequest
    assert isinstance(await error_of(running.stub.EstimatePoses(ask(shard=missing))), ArtifactNotFound)
    unknown = await error_of(running.stub.EstimatePoses(ask(shard=missing, backend="nonesuch")))
    assert isinstance(unknown, InvalidOption)
    assert "there are: mediapipe" in unknown.message
    clip = rpc.from_ref(ArtifactRef("clip", "0" * 64))
    assert isinstance(await error_of(running.stub.EstimatePoses(ask(shard=clip))), InvalidOption)


async def test_an_empty_clip_is_refused_in_numbers(running: Running) -> None:
    clip = store_clip(running.artifacts, [np.full((96, 128, 3), 90, np.uint8)] * 5)
    (shard,) = shards_of(running.artifacts, clip)
    found = await running.stub.EstimatePoses(pose_pb2.EstimatePosesRequest(shard=rpc.from_ref(shard)))
    order = pose_pb2.AssembleTrackRequest(clip=rpc.from_ref(clip), pose_shards=[found.artifact], role="target")
    error = await error_of(running.stub.AssembleTrack(order))
    assert isinstance(error, NoPersonFound)
    assert "5 of 5 frames of the target" in error.message
    assert error.metadata["frame_count"] == "5"
