"""gRPC in and out of the downloader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from understudy.v1 import downloader_pb2, downloader_pb2_grpc, types_pb2

from services.common import rpc
from services.common.errors import Cancelled, InvalidOption
from services.common.server import Service
from services.common.stage import Done, Emitted, Job, Progress, StageRunner
from services.common.video import VideoLimits
from services.downloader.config import DownloaderSettings
from services.downloader.worker import Downloader, Trims, clip_recipe

_NAME = downloader_pb2.DESCRIPTOR.services_by_name["DownloaderService"].full_name
Responses = AsyncIterator[downloader_pb2.IngestResponse]


def make_service(runner: StageRunner, settings: DownloaderSettings) -> Service:
    """The downloader, ready to be served."""
    servicer = DownloaderServicer(runner, Downloader(runner.artifacts, settings))
    return Service(
        name="downloader",
        grpc_name=_NAME,
        register=lambda server: downloader_pb2_grpc.add_DownloaderServiceServicer_to_server(servicer, server),
        load=lambda: None,
        runner=runner,
    )


class DownloaderServicer(downloader_pb2_grpc.DownloaderServiceServicer):
    """Ingest: fetch when an address is given, then decode."""

    def __init__(self, runner: StageRunner, worker: Downloader) -> None:
        self._runner, self._worker = runner, worker

    async def Ingest(
        self, request: downloader_pb2.IngestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Responses:
        """See downloader.proto."""
        del context
        trims = Trims(request.start_seconds, request.end_seconds, request.max_frames)
        source = request.WhichOneof("source")
        if source == "url":
            async for update in self._fetch(request.url):
                if isinstance(update, str):
                    sha256 = update
                else:
                    yield downloader_pb2.IngestResponse(progress=rpc.from_progress(update))
        elif source == "upload_sha256":
            sha256 = request.upload_sha256
        else:
            raise InvalidOption("an ingest needs a source: an upload's SHA-256 or an address")
        async for response in self._ingest(sha256, trims, _min_frames(request)):
            yield response

    async def _ingest(self, sha256: str, trims: Trims, min_frames: int) -> Responses:
        recipe = clip_recipe(sha256, trims)
        await asyncio.to_thread(self._worker.forget_incomplete, recipe)
        run = self._runner.run(recipe, lambda job, writer: self._worker.ingest(sha256, trims, job, writer, min_frames))
        async for event in run:
            if isinstance(event, Progress):
                yield downloader_pb2.IngestResponse(progress=rpc.from_progress(event))
            elif isinstance(event, Emitted):
                yield downloader_pb2.IngestResponse(shard=rpc.from_facts(event.facts, types_pb2.FrameShard))
            elif isinstance(event, Done):
                # What is enough is no part of the key: the clip may be there from a call that was content with less.
                VideoLimits(min_frames=min_frames).check_frame_count(int(event.artifact.facts["frame_count"]))
                yield downloader_pb2.IngestResponse(clip=rpc.from_artifact(event.artifact, types_pb2.Clip))

    async def _fetch(self, url: str) -> AsyncIterator[Progress | str]:
        """Progress in bytes, then the digest. A caller that goes away ends the download."""
        loop = asyncio.get_running_loop()
        updates: asyncio.Queue[Progress | None] = asyncio.Queue()

        def tell(event: Progress | Emitted) -> None:
            if isinstance(event, Progress):
                loop.call_soon_threadsafe(updates.put_nowait, event)

        job = Job(tell)
        download = asyncio.ensure_future(asyncio.to_thread(self._worker.fetch, url, job))
        download.add_done_callback(lambda _done: updates.put_nowait(None))
        try:
            while (update := await updates.get()) is not None:
                yield update
            yield download.result()
        finally:
            job.stop(Cancelled("nobody waits for this download any more"))
            if not download.done():
                await asyncio.wait([download])


def _min_frames(request: downloader_pb2.IngestRequest) -> int:
    if request.min_frames < 0:
        raise InvalidOption(f"min_frames must be 0 (for 2) or more, got {request.min_frames}")
    return request.min_frames or VideoLimits.min_frames
