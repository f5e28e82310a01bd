"""gRPC in and out of pose."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from understudy.v1 import pose_pb2, pose_pb2_grpc

from services.common import rpc
from services.common.stage import StageRunner
from services.common.subject import parse_subject
from services.pose.worker import PeopleRequest, Pose, TrackRequest

Context = grpc.aio.ServicerContext[Any, Any]


class PoseServicer(pose_pb2_grpc.PoseServiceServicer):
    """EstimatePoses, AssembleTrack and ListPeople."""

    def __init__(self, runner: StageRunner, worker: Pose) -> None:
        self._runner, self._worker = runner, worker

    async def EstimatePoses(
        self, request: pose_pb2.EstimatePosesRequest, context: Context
    ) -> pose_pb2.EstimatePosesResponse:
        """See pose.proto."""
        shard = rpc.expect_kind(rpc.to_ref(request.shard), "frame_shard", "rendered_shard", "heldout")
        backend, name = request.backend, request.object_name
        recipe = await asyncio.to_thread(self._worker.poses_recipe, shard, backend, name)
        done = await self._runner.result(
            recipe, lambda job, writer: self._worker.estimate(shard, backend, job, writer, name)
        )
        return rpc.from_artifact(done.artifact, pose_pb2.EstimatePosesResponse)

    async def AssembleTrack(
        self, request: pose_pb2.AssembleTrackRequest, context: Context
    ) -> pose_pb2.AssembleTrackResponse:
        """See pose.proto."""
        order = TrackRequest(
            clip=rpc.expect_kind(rpc.to_ref(request.clip), "clip"),
            pose_shards=[rpc.expect_kind(ref, "pose_shard") for ref in rpc.to_refs(request.pose_shards)],
            subject=str(parse_subject(request.subject)),
            role=request.role,
        )
        done = await self._runner.result(order.recipe, lambda job, writer: self._worker.assemble(order, job, writer))
        return rpc.from_artifact(done.artifact, pose_pb2.AssembleTrackResponse)

    async def ListPeople(self, request: pose_pb2.ListPeopleRequest, context: Context) -> pose_pb2.ListPeopleResponse:
        """See pose.proto."""
        order = PeopleRequest(
            clip=rpc.expect_kind(rpc.to_ref(request.clip), "clip"),
            pose_shards=[rpc.expect_kind(ref, "pose_shard") for ref in rpc.to_refs(request.pose_shards)],
        )
        done = await self._runner.result(order.recipe, lambda job, writer: self._worker.list_people(order, job, writer))
        return rpc.from_artifact(done.artifact, pose_pb2.ListPeopleResponse)
