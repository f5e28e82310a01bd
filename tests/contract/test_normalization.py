"""The normalization service over its real protocol: started on a free port, called by a real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from understudy.v1 import normalization_pb2, normalization_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import ArtifactNotFound, InvalidOption
from services.common.server import Service, open_runner, start
from services.common.tracks import CameraPath, PoseTrack
from services.normalization.config import NormalizationSettings
from services.normalization.servicer import NormalizationServicer
from services.normalization.worker import Normalization
from tests.support.clips import store_camera, store_clip, store_track
from tests.support.figures import dancing

Request = normalization_pb2.NormalizePosesRequest


@dataclass(frozen=True)
class Running:
    stub: normalization_pb2_grpc.NormalizationServiceAsyncStub
    artifacts: Artifacts


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    settings = NormalizationSettings(store_url=f"file://{tmp_path}/store", cache_dir=tmp_path / "c", metrics_port=-1)
    runner = open_runner(settings)
    servicer = NormalizationServicer(runner, Normalization(runner.artifacts))
    service = Service(
        name="normalization",
        grpc_name="understudy.v1.NormalizationService",
        register=lambda server: normalization_pb2_grpc.add_NormalizationServiceServicer_to_server(servicer, server),
        load=lambda: None,
        runner=runner,
    )
    server = await start(service, settings)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Running(normalization_pb2_grpc.NormalizationServiceStub(channel), runner.artifacts)
    await server.stop(5)


def request_for(artifacts: Artifacts, source: PoseTrack, target: PoseTrack, drift: float = 0.0) -> Request:
    """Both videos are plain grey; the source's camera drifts to the right by `drift` px a frame."""
    camera = CameraPath.identity(len(source), source.width, source.height)
    camera.matrices[:, 0, 2] = drift * np.arange(len(source))
    filmed = replace(source, keypoints=source.keypoints.copy())
    filmed.keypoints[:, :, 0] -= np.where(source.keypoints[:, :, 2] > 0, camera.matrices[:, None, 0, 2], 0)
    still = CameraPath.identity(len(target), target.width, target.height)
    return Request(
        source_clip=rpc.from_ref(store_clip(artifacts, _grey(source, 60))),
        source_track=rpc.from_ref(store_track(artifacts, filmed)),
        source_camera=rpc.from_ref(store_camera(artifacts, camera)),
        target_clip=rpc.from_ref(store_clip(artifacts, _grey(target, 160))),
        target_track=rpc.from_ref(store_track(artifacts, target)),
        target_camera=rpc.from_ref(store_camera(artifacts, still)),
    )


def _grey(track: PoseTrack, level: int) -> list[NDArray[np.uint8]]:
    return [np.full((track.height, track.width, 3), level, np.uint8)] * len(track)


def driven_of(running: Running, response: normalization_pb2.NormalizePosesResponse) -> PoseTrack:
    arrays = running.artifacts.open(rpc.to_ref(response.artifact)).read_arrays("track.safetensors")
    return PoseTrack.from_arrays(arrays)


async def test_the_dance_is_driven_in_both_modes_and_shown(running: Running) -> None:
    source, target = dancing(40, height=300), dancing(30, height=200, seed=2, width_px=480, height_px=640)
    request = request_for(running.artifacts, source, target)
    response = await running.stub.NormalizePoses(request)
    assert (response.frame_count, response.valid_frame_count, response.mode) == (40, 40, "global")
    assert response.scale_close == pytest.approx(2 / 3, rel=0.05)
    driven = driven_of(running, response)
    assert (driven.width, driven.height, len(driven)) == (480, 640, 40)
    data = running.artifacts.open(rpc.to_ref(response.artifact)).read_bytes("preview.jpg")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.ptp(picture, axis=(0, 1)).max() > 100
    request.mode = "limbs"
    limbs = await running.stub.NormalizePoses(request)
    assert limbs.mode == "limbs"
    assert limbs.artifact != response.artifact
    assert await running.stub.NormalizePoses(request) == limbs


async def test_a_moving_camera_does_not_move_the_dancer(running: Running) -> None:
    source, target = dancing(40, height=300), dancing(30, height=200, seed=2)
    still = await running.stub.NormalizePoses(request_for(running.artifacts, source, target))
    drifting = await running.stub.NormalizePoses(request_for(running.artifacts, source, target, drift=3.0))
    np.testing.assert_allclose(driven_of(running, drifting).keypoints, driven_of(running, still).keypoints, atol=0.01)


async def test_mistakes_come_back_as_themselves(running: Running) -> None:
    good = request_for(running.artifacts, dancing(20), dancing(20, seed=2))
    cases = []
    for field, value, kind in (
        ("mode", "sideways", InvalidOption),
        ("source_track", rpc.from_ref(ArtifactRef("pose_track", "0" * 64)), ArtifactNotFound),
        ("source_track", rpc.from_ref(ArtifactRef("clip", "0" * 64)), InvalidOption),
        ("target_track", rpc.from_ref(store_track(running.artifacts, dancing(19))), InvalidOption),
    ):
        request = Request()
        request.CopyFrom(good)
        if isinstance(value, str):
            setattr(request, field, value)
        else:
            getattr(request, field).CopyFrom(value)
        cases.append((request, kind))
    for request, kind in cases:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.stub.NormalizePoses(request)
        assert isinstance(rpc.from_rpc_error(caught.value), kind)
