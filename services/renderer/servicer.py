"""gRPC in and out of the renderer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from understudy.v1 import renderer_pb2, renderer_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef
from services.common.stage import Done, Progress, StageRunner
from services.renderer.backdrop import PLATE, Backdrop
from services.renderer.encoding import Encoder, encode_request, video_recipe
from services.renderer.worker import Renderer, RenderRequest, rendered_recipe

Context = grpc.aio.ServicerContext[Any, Any]
Responses = AsyncIterator[renderer_pb2.EncodeVideoResponse]


class RendererServicer(renderer_pb2_grpc.RendererServiceServicer):
    """RenderFrames answers once, EncodeVideo streams."""

    def __init__(self, runner: StageRunner, renderer: Renderer, encoder: Encoder) -> None:
        self._runner, self._renderer, self._encoder = runner, renderer, encoder

    async def RenderFrames(
        self, request: renderer_pb2.RenderFramesRequest, context: Context
    ) -> renderer_pb2.RenderFramesResponse:
        """See renderer.proto."""
        del context
        order = RenderRequest(
            rpc.expect_kind(rpc.to_ref(request.performer), "performer"),
            rpc.expect_kind(rpc.to_ref(request.driven_track), "driven_track", "heldout"),
            request.first_frame,
            request.frame_count,
            _backdrop(request.background) if request.HasField("background") else PLATE,
        )
        done = await self._runner.result(
            rendered_recipe(order), lambda job, writer: self._renderer.render(order, job, writer)
        )
        return rpc.from_artifact(done.artifact, renderer_pb2.RenderFramesResponse)

    async def EncodeVideo(self, request: renderer_pb2.EncodeVideoRequest, context: Context) -> Responses:
        """See renderer.proto."""
        del context
        track = request.source_track if request.HasField("source_track") else None
        order = encode_request(
            [rpc.expect_kind(ref, "rendered_shard") for ref in rpc.to_refs(request.rendered_shards)],
            rpc.expect_kind(rpc.to_ref(request.driven_track), "driven_track"),
            rpc.expect_kind(rpc.to_ref(request.source_clip), "clip"),
            request.format,
            request.layout,
            rpc.expect_kind(rpc.to_ref(track), "pose_track") if track is not None else None,
        )
        run = self._runner.run(video_recipe(order), lambda job, writer: self._encoder.encode(order, job, writer))
        async for event in run:
            if isinstance(event, Progress):
                yield renderer_pb2.EncodeVideoResponse(progress=rpc.from_progress(event))
            elif isinstance(event, Done):
                yield renderer_pb2.EncodeVideoResponse(video=rpc.from_artifact(event.artifact, renderer_pb2.Video))


def _backdrop(message: renderer_pb2.Background) -> Backdrop:
    """Raises InvalidOption when kind and references do not fit together."""

    given = {field.name: value for field, value in message.ListFields()}

    def ref(name: str, kind: str) -> ArtifactRef | None:
        return rpc.expect_kind(rpc.to_ref(given[name]), kind) if name in given else None

    return Backdrop(
        kind=message.kind or "plate",
        colour=message.colour.lower(),
        clip=ref("clip", "clip"),
        plate=ref("plate", "plate"),
        source_track=ref("source_track", "pose_track"),
        source_camera=ref("source_camera", "camera_path"),
        camera=ref("camera", "camera_path"),
        camera_clip=ref("camera_clip", "clip"),
        source_clip=ref("source_clip", "clip"),
    )
