"""One run through the real services: seven fresh processes over an empty store, called stage by stage.

The calls and their concurrency are those of `gateway.pipeline`, except that no stage begins before the one before it
has ended, so that each has the machine to itself. Time counts from when every service is SERVING.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
from understudy.v1 import (
    downloader_pb2,
    normalization_pb2,
    pose_pb2,
    renderer_pb2,
    segmentation_pb2,
    trainer_pb2,
    types_pb2,
)

from gateway.cli.client import GatewayClient
from gateway.cli.home import Home
from gateway.cli.stack import GATEWAY, Stack
from gateway.clients import StageCaller, StageClients
from gateway.config import GatewaySettings
from gateway.pipeline import SHARD_FRAMES
from gateway.workers import FEWEST_SHARDS
from services.common.errors import ServiceUnavailable
from tests.bench.stages import Run, Work

_START_SECONDS = 120.0

T = TypeVar("T")
R = TypeVar("R")


def run_served(work: Work, folder: Path) -> Run:
    """`folder` is empty and becomes the home. Raises what the services raise, and RuntimeError when one crashed."""
    incidents: list[str] = []
    with Stack(Home.open(folder), incidents.append) as stack:
        run = asyncio.run(_measure(stack, work))
    if incidents:
        raise RuntimeError(f"the run does not count: {'; '.join(incidents)}")
    return run


async def _measure(stack: Stack, work: Work) -> Run:
    gateway = GatewayClient(stack.url, stack.check)
    try:
        await asyncio.to_thread(gateway.get, "/healthz")
        settings = _gateway_settings(stack)
        clients = StageClients(settings)
        try:
            await _until_serving(stack, clients)
            return await _Calls(settings, clients, gateway, work).run()
        finally:
            await clients.close()
    finally:
        gateway.close()


def _gateway_settings(stack: Stack) -> GatewaySettings:
    """Those of the stack's own gateway: where the services listen, how many shards are under way at once."""
    prefix = "UNDERSTUDY_"
    environment = psutil.Process(stack.pids[GATEWAY]).environ()
    own = {name.removeprefix(prefix).lower(): value for name, value in environment.items() if name.startswith(prefix)}
    return GatewaySettings.model_validate(own)


async def _until_serving(stack: Stack, clients: StageClients) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not all((await clients.health()).values()):
        stack.check()
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"not all services were ready within {_START_SECONDS:.0f} s")
        await asyncio.sleep(0.2)


class _Calls:
    """The stages of one run, in order; each leaves what the next ones need."""

    def __init__(self, settings: GatewaySettings, clients: StageClients, gateway: GatewayClient, work: Work) -> None:
        self._clients, self._gateway, self._work = clients, gateway, work
        self._call = StageCaller(settings, "bench", clients.metrics)
        self._shards_at_once = asyncio.Semaphore(settings.concurrent_shards or FEWEST_SHARDS)
        self._run = Run()
        self._clip = types_pb2.Clip()

    async def run(self) -> Run:
        await self._ingest()
        poses, track = await self._poses()
        camera = await self._camera(poses, track)
        mattes = await self._mattes(poses, track)
        plate = await self._plate(poses, camera, mattes)
        performer = await self._train(track, camera, mattes, plate)
        driven = await self._normalize(track, camera)
        shards = await self._render(performer, driven)
        await self._encode(driven, shards)
        return self._run

    async def _ingest(self) -> None:
        began = time.perf_counter()
        uploaded = await asyncio.to_thread(self._gateway.upload, self._work.clip)
        request = downloader_pb2.IngestRequest(upload_sha256=uploaded.upload_sha256, max_frames=self._work.frames)
        await self._call.stream(self._clients.downloader.Ingest, request, "download", self._on_ingest)
        self._run.add("ingest", self._clip.frame_count, time.perf_counter() - began)
        self._run.width, self._run.height = self._clip.width, self._clip.height
        self._run.frame_count = self._clip.frame_count

    def _on_ingest(self, update: downloader_pb2.IngestResponse) -> None:
        if update.HasField("clip"):
            self._clip.CopyFrom(update.clip)

    async def _poses(self) -> tuple[list[types_pb2.ArtifactRef], types_pb2.ArtifactRef]:
        def estimate(shard: types_pb2.FrameShard) -> Awaitable[pose_pb2.EstimatePosesResponse]:
            request = pose_pb2.EstimatePosesRequest(shard=shard.artifact)
            return self._call.unary(self._clients.pose.EstimatePoses, request, "pose")

        with self._run.timed("pose"):
            answers = await self._in_parallel(estimate, self._clip.shards)
            poses = [answer.artifact for answer in answers]
            request = pose_pb2.AssembleTrackRequest(clip=self._clip.artifact, pose_shards=poses, role="clip")
            track = await self._call.unary(self._clients.pose.AssembleTrack, request, "pose")
        return poses, track.artifact

    async def _camera(
        self, poses: Sequence[types_pb2.ArtifactRef], track: types_pb2.ArtifactRef
    ) -> types_pb2.ArtifactRef:
        request = segmentation_pb2.RegisterCameraRequest(clip=self._clip.artifact, track=track, pose_shards=poses)
        with self._run.timed("camera"):
            answer = await self._call.unary(self._clients.segmentation.RegisterCamera, request, "camera")
        return answer.artifact

    async def _mattes(
        self, poses: Sequence[types_pb2.ArtifactRef], track: types_pb2.ArtifactRef
    ) -> list[types_pb2.ArtifactRef]:
        def segment(
            item: tuple[types_pb2.FrameShard, types_pb2.ArtifactRef],
        ) -> Awaitable[segmentation_pb2.SegmentFramesResponse]:
            shard, pose_shard = item
            request = segmentation_pb2.SegmentFramesRequest(
                shard=shard.artifact, track=track, first_frame=shard.first_frame, pose_shard=pose_shard
            )
            return self._call.unary(self._clients.segmentation.SegmentFrames, request, "segmentation")

        with self._run.timed("matte"):
            answers = await self._in_parallel(segment, list(zip(self._clip.shards, poses, strict=True)))
        return [answer.artifact for answer in answers]

    async def _plate(
        self,
        poses: Sequence[types_pb2.ArtifactRef],
        camera: types_pb2.ArtifactRef,
        mattes: Sequence[types_pb2.ArtifactRef],
    ) -> types_pb2.ArtifactRef:
        request = segmentation_pb2.BuildPlateRequest(
            clip=self._clip.artifact, camera=camera, matte_shards=mattes, pose_shards=poses
        )
        with self._run.timed("plate"):
            answer = await self._call.unary(self._clients.segmentation.BuildPlate, request, "plate")
        return answer.artifact

    async def _train(
        self,
        track: types_pb2.ArtifactRef,
        camera: types_pb2.ArtifactRef,
        mattes: Sequence[types_pb2.ArtifactRef],
        plate: types_pb2.ArtifactRef,
    ) -> types_pb2.ArtifactRef:
        request = trainer_pb2.TrainRequest(
            clip=self._clip.artifact, track=track, camera=camera, matte_shards=mattes, plate=plate,
            preset="preview", iterations=self._work.iterations,
        )  # fmt: skip
        watch = _TrainingWatch()
        await self._call.stream(self._clients.trainer.Train, request, "training", watch.see)
        iterating, rest = watch.seconds()
        self._run.add("training", self._work.iterations, iterating)
        self._run.add("performer", self._run.frame_count, rest)
        return watch.performer.artifact

    async def _normalize(
        self, track: types_pb2.ArtifactRef, camera: types_pb2.ArtifactRef
    ) -> normalization_pb2.NormalizePosesResponse:
        request = normalization_pb2.NormalizePosesRequest(
            source_clip=self._clip.artifact, source_track=track, source_camera=camera,
            target_clip=self._clip.artifact, target_track=track, target_camera=camera,
        )  # fmt: skip
        with self._run.timed("normalization"):
            return await self._call.unary(self._clients.normalization.NormalizePoses, request, "normalization")

    async def _render(
        self, performer: types_pb2.ArtifactRef, driven: normalization_pb2.NormalizePosesResponse
    ) -> list[types_pb2.ArtifactRef]:
        def render(first: int) -> Awaitable[renderer_pb2.RenderFramesResponse]:
            request = renderer_pb2.RenderFramesRequest(
                performer=performer, driven_track=driven.artifact, first_frame=first,
                frame_count=min(SHARD_FRAMES, driven.frame_count - first),
            )  # fmt: skip
            return self._call.unary(self._clients.renderer.RenderFrames, request, "rendering")

        began = time.perf_counter()
        answers = await self._in_parallel(render, range(0, driven.frame_count, SHARD_FRAMES))
        self._run.add("render", sum(answer.rendered_count for answer in answers), time.perf_counter() - began)
        return [answer.artifact for answer in answers]

    async def _encode(
        self, driven: normalization_pb2.NormalizePosesResponse, shards: Sequence[types_pb2.ArtifactRef]
    ) -> None:
        request = renderer_pb2.EncodeVideoRequest(
            rendered_shards=shards, driven_track=driven.artifact, source_clip=self._clip.artifact, format="mp4"
        )
        video = renderer_pb2.Video()

        def see(update: renderer_pb2.EncodeVideoResponse) -> None:
            if update.HasField("video"):
                video.CopyFrom(update.video)

        began = time.perf_counter()
        await self._call.stream(self._clients.renderer.EncodeVideo, request, "encoding", see)
        self._run.add("encode", video.frame_count, time.perf_counter() - began)

    async def _in_parallel(self, call: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
        async def one(item: T) -> R:
            async with self._shards_at_once:
                return await call(item)

        return await asyncio.gather(*(one(item) for item in items))


class _TrainingWatch:
    """Tells a training's iterations from what comes before and after them, by its own progress."""

    def __init__(self) -> None:
        self.performer = trainer_pb2.Performer()
        self._called = self._began = time.perf_counter()
        self._ended = self._answered = 0.0

    def see(self, update: trainer_pb2.TrainResponse) -> None:
        now = time.perf_counter()
        if update.HasField("performer"):
            self.performer.CopyFrom(update.performer)
            self._answered = now
        elif update.HasField("progress"):
            if update.progress.done == 0:
                self._began = now  # it still reads frames
            elif update.progress.done == update.progress.total and not self._ended:
                self._ended = now

    def seconds(self) -> tuple[float, float]:
        """Of the iterations, and of the rest."""
        iterating = self._ended - self._began
        return iterating, self._answered - self._called - iterating
