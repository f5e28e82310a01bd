"""The segmentation service over its real protocol: started on a free port, called by a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import segmentation_pb2, segmentation_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import ArtifactNotFound, InvalidOption
from services.common.server import Service, open_runner, start
from services.common.tracks import CameraPath
from services.segmentation.config import SegmentationSettings
from services.segmentation.servicer import SegmentationServicer
from services.segmentation.worker import Segmentation
from tests.unit.segmentation.scenes import filmed, store_clip, store_poses, store_track

FRAMES = 24


@dataclass(frozen=True)
class Running:
    stub: segmentation_pb2_grpc.SegmentationServiceAsyncStub
    channel: grpc.aio.Channel
    artifacts: Artifacts


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    settings = SegmentationSettings(
        store_url=f"file://{tmp_path}/store", cache_dir=tmp_path / "cache", metrics_port=-1, segmentation_threads=2
    )
    runner = open_runner(settings)
    worker = Segmentation(runner.artifacts, settings.weights_dir, settings.segmentation_backend, settings.threads)
    servicer = SegmentationServicer(runner, worker)
    service = Service(
        name="segmentation",
        grpc_name="understudy.v1.SegmentationService",
        register=lambda server: segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(servicer, server),
        load=worker.load,
        runner=runner,
    )
    server = await start(service, settings)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        yield Running(stub, channel, runner.artifacts)
    await server.stop(5)


async def test_it_serves_once_the_network_is_loaded(running: Running) -> None:
    health: Any = health_pb2_grpc.HealthStub(running.channel)
    request = health_pb2.HealthCheckRequest(service="understudy.v1.SegmentationService")
    async with asyncio.timeout(30):
        async for update in health.Watch(request):
            if update.status == health_pb2.HealthCheckResponse.SERVING:
                break


async def test_the_three_calls_one_after_the_other_and_again(running: Running) -> None:
    clip = filmed(FRAMES, step=3)
    clip_ref = store_clip(running.artifacts, clip)
    track_ref = store_track(running.artifacts, clip.track)
    shard_ref = ArtifactRef(**running.artifacts.open(clip_ref).facts["shards"][0]["artifact"])

    ask = segmentation_pb2.RegisterCameraRequest(clip=rpc.from_ref(clip_ref), track=rpc.from_ref(track_ref))
    camera = await running.stub.RegisterCamera(ask)
    path = CameraPath.from_arrays(running.artifacts.open(rpc.to_ref(camera.artifact)).read_arrays("camera.safetensors"))
    assert path.reference_frame == camera.reference_frame
    assert camera.registered_fraction == 1.0
    assert camera.max_displacement_px > 5

    poses_ref = store_poses(running.artifacts, [clip.people(index) for index in range(FRAMES)])
    cut = segmentation_pb2.SegmentFramesRequest(
        shard=rpc.from_ref(shard_ref), track=rpc.from_ref(track_ref), pose_shard=rpc.from_ref(poses_ref)
    )
    mattes, twin = await asyncio.gather(running.stub.SegmentFrames(cut), running.stub.SegmentFrames(cut))
    assert (mattes.frame_count, mattes.empty_count) == (FRAMES, 0)
    assert mattes == twin

    order = segmentation_pb2.BuildPlateRequest(
        clip=rpc.from_ref(clip_ref), camera=camera.artifact, matte_shards=[mattes.artifact]
    )
    plate = await running.stub.BuildPlate(order)
    assert plate.heldout_error < 2.0 < plate.heldout_error_unregistered
    assert 0.8 < plate.seen_fraction <= 1

    assert await running.stub.RegisterCamera(ask) == camera
    assert await running.stub.BuildPlate(order) == plate


async def test_mistakes_come_back_as_themselves(running: Running) -> None:
    missing = ArtifactRef("clip", "0" * 64)
    track = ArtifactRef("pose_track", "0" * 64)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await running.stub.RegisterCamera(
            segmentation_pb2.RegisterCameraRequest(clip=rpc.from_ref(missing), track=rpc.from_ref(track))
        )
    assert isinstance(rpc.from_rpc_error(error.value), ArtifactNotFound)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await running.stub.SegmentFrames(
            segmentation_pb2.SegmentFramesRequest(shard=rpc.from_ref(missing), track=rpc.from_ref(track))
        )
    assert isinstance(rpc.from_rpc_error(error.value), InvalidOption)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await running.stub.SegmentFrames(
            segmentation_pb2.SegmentFramesRequest(
                shard=rpc.from_ref(ArtifactRef("frame_shard", "0" * 64)), track=rpc.from_ref(track), backend="nonesuch"
            )
        )
    assert "there are: mediapipe" in str(error.value.details())
