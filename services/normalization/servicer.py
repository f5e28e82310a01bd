"""gRPC in and out of normalization."""

from __future__ import annotations

from typing import Any

import grpc
from understudy.v1 import normalization_pb2, normalization_pb2_grpc, types_pb2

from services.common import rpc
from services.common.stage import StageRunner
from services.normalization.worker import Normalization, NormalizeRequest, Side

Context = grpc.aio.ServicerContext[Any, Any]


class NormalizationServicer(normalization_pb2_grpc.NormalizationServiceServicer):
    """NormalizePoses."""

    def __init__(self, runner: StageRunner, worker: Normalization) -> None:
        self._runner, self._worker = runner, worker

    async def NormalizePoses(
        self, request: normalization_pb2.NormalizePosesRequest, context: Context
    ) -> normalization_pb2.NormalizePosesResponse:
        """See normalization.proto."""
        order = NormalizeRequest(
            source=_side(request.source_clip, request.source_track, request.source_camera),
            target=_side(request.target_clip, request.target_track, request.target_camera),
            mode=request.mode,
        )
        done = await self._runner.result(order.recipe, lambda job, writer: self._worker.normalize(order, job, writer))
        return rpc.from_artifact(done.artifact, normalization_pb2.NormalizePosesResponse)


def _side(clip: types_pb2.ArtifactRef, track: types_pb2.ArtifactRef, camera: types_pb2.ArtifactRef) -> Side:
    return Side(
        clip=rpc.expect_kind(rpc.to_ref(clip), "clip"),
        track=rpc.expect_kind(rpc.to_ref(track), "pose_track"),
        camera=rpc.expect_kind(rpc.to_ref(camera), "camera_path"),
    )
