"""gRPC in and out of segmentation."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from understudy.v1 import segmentation_pb2, segmentation_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef
from services.common.stage import StageRunner
from services.segmentation.worker import CameraRequest, MattesRequest, PlateRequest, Segmentation

Context = grpc.aio.ServicerContext[Any, Any]


class SegmentationServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """RegisterCamera, SegmentFrames and BuildPlate."""

    def __init__(self, runner: StageRunner, worker: Segmentation) -> None:
        self._runner, self._worker = runner, worker

    async def RegisterCamera(
        self, request: segmentation_pb2.RegisterCameraRequest, context: Context
    ) -> segmentation_pb2.RegisterCameraResponse:
        """See segmentation.proto."""
        order = CameraRequest(
            clip=rpc.expect_kind(rpc.to_ref(request.clip), "clip"),
            track=rpc.expect_kind(rpc.to_ref(request.track), "pose_track"),
            pose_shards=_all(rpc.to_refs(request.pose_shards), "pose_shard"),
        )
        done = await self._runner.result(order.recipe, lambda job, writer: self._worker.register(order, job, writer))
        return rpc.from_artifact(done.artifact, segmentation_pb2.RegisterCameraResponse)

    async def SegmentFrames(
        self, request: segmentation_pb2.SegmentFramesRequest, context: Context
    ) -> segmentation_pb2.SegmentFramesResponse:
        """See segmentation.proto."""
        order = MattesRequest(
            shard=rpc.expect_kind(rpc.to_ref(request.shard), "frame_shard"),
            track=rpc.expect_kind(rpc.to_ref(request.track), "pose_track"),
            first_frame=request.first_frame,
            backend=request.backend,
            poses=(
                rpc.expect_kind(rpc.to_ref(request.pose_shard), "pose_shard")
                if request.HasField("pose_shard")
                else None
            ),
        )
        recipe = await asyncio.to_thread(self._worker.mattes_recipe, order)
        done = await self._runner.result(recipe, lambda job, writer: self._worker.segment(order, job, writer))
        return rpc.from_artifact(done.artifact, segmentation_pb2.SegmentFramesResponse)

    async def BuildPlate(
        self, request: segmentation_pb2.BuildPlateRequest, context: Context
    ) -> segmentation_pb2.BuildPlateResponse:
        """See segmentation.proto."""
        order = PlateRequest(
            clip=rpc.expect_kind(rpc.to_ref(request.clip), "clip"),
            camera=rpc.expect_kind(rpc.to_ref(request.camera), "camera_path"),
            matte_shards=_all(rpc.to_refs(request.matte_shards), "matte_shard"),
            pose_shards=_all(rpc.to_refs(request.pose_shards), "pose_shard"),
        )
        done = await self._runner.result(order.recipe, lambda job, writer: self._worker.plate(order, job, writer))
        return rpc.from_artifact(done.artifact, segmentation_pb2.BuildPlateResponse)


def _all(refs: list[ArtifactRef], kind: str) -> list[ArtifactRef]:
    return [rpc.expect_kind(ref, kind) for ref in refs]
