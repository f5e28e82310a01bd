"""What a transfer does, in plain words: study both clips, make the performer, fit the dance, render, encode.

Every call is idempotent and answers at once when its artifact is committed, so running any part of this again after
a crash costs only what had not been committed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from understudy.v1 import (
    downloader_pb2,
    normalization_pb2,
    pose_pb2,
    renderer_pb2,
    segmentation_pb2,
    trainer_pb2,
    types_pb2,
)

from gateway.board import RESULT, RESULT_STAGES, TARGET, Board
from gateway.clients import StageCaller, StageClients
from gateway.config import GatewaySettings
from gateway.resources import MEDIA_TYPES, Clip, ClipUse, Output, Rate, Ref, TransferOptions
from gateway.results import Driven, Encoded, Rendered, Study, Trained
from services.common.errors import Internal, UnderstudyError

SHARD_FRAMES = 64


class Pipeline:
    """The calls of one transfer. `board` hears how far they are."""

    def __init__(
        self,
        settings: GatewaySettings,
        clients: StageClients,
        board: Board,
        transfer_id: str,
        options: TransferOptions,
    ) -> None:
        self._clients = clients
        self._board = board
        self._options = options
        self._call = StageCaller(settings, transfer_id)
        self._shards_at_once = asyncio.Semaphore(settings.concurrent_shards)

    async def study(self, clip: Clip, use: ClipUse, role: str) -> Study:
        """Ingests a clip, finds poses in its shards as they appear, follows the subject, registers the camera."""
        ingested, poses = await self._ingest_and_pose(clip, use, role)
        clip_ref, pose_refs = ingested.artifact, [answer.artifact for answer in poses]
        track = await self._call.unary(
            self._clients.pose.AssembleTrack,
            pose_pb2.AssembleTrackRequest(clip=clip_ref, pose_shards=pose_refs, subject=use.subject, role=role),
            "pose",
        )
        self._board.finish(role, "pose")
        self._board.begin(role, "camera", ingested.frame_count)
        camera = await self._call.unary(
            self._clients.segmentation.RegisterCamera,
            segmentation_pb2.RegisterCameraRequest(clip=clip_ref, track=track.artifact, pose_shards=pose_refs),
            "camera",
        )
        self._board.finish(role, "camera")
        warnings = [*ingested.warnings, *track.warnings, *camera.warnings]
        return Study(
            clip=_ref(clip_ref),
            shards=[_ref(shard.artifact) for shard in ingested.shards],
            first_frames=[shard.first_frame for shard in ingested.shards],
            pose_shards=[_ref(ref) for ref in pose_refs],
            track=_ref(track.artifact),
            camera=_ref(camera.artifact),
            frame_count=ingested.frame_count,
            valid_frame_count=track.valid_frame_count,
            upload_sha256=ingested.upload_sha256,
            warnings=[f"{role}: {warning}" for warning in warnings],
        )

    async def train(self, study: Study) -> Trained:
        """Segments the target, builds its plate and trains its performer."""
        self._board.begin(TARGET, "segmentation", study.frame_count)
        mattes = await self._in_parallel([self._segment(study, index) for index in range(len(study.shards))])
        self._board.finish(TARGET, "segmentation")
        self._board.begin(TARGET, "plate", study.frame_count)
        plate = await self._call.unary(
            self._clients.segmentation.BuildPlate,
            segmentation_pb2.BuildPlateRequest(
                clip=_message(study.clip),
                camera=_message(study.camera),
                matte_shards=mattes,
                pose_shards=_messages(study.pose_shards),
            ),
            "plate",
        )
        self._board.finish(TARGET, "plate")
        performer = await self._train(study, mattes, plate.artifact)
        made = [*(_ref(matte) for matte in mattes), _ref(plate.artifact), _ref(performer.artifact)]
        return Trained(
            performer=_ref(performer.artifact),
            study=study,
            refs=[*study.refs(), *made],
            preset=performer.preset,
            metrics=dict(performer.metrics),
            nearest_metrics=dict(performer.nearest_metrics),
            warnings=[f"target: {warning}" for warning in (*plate.warnings, *performer.warnings)],
        )

    async def normalize(self, source: Study, clip: Ref, track: Ref, camera: Ref) -> Driven:
        """Fits the source's dance to the target's body; `clip`, `track` and `camera` are the target's."""
        self._board.begin(RESULT, "normalization", source.frame_count)
        answer = await self._call.unary(
            self._clients.normalization.NormalizePoses,
            normalization_pb2.NormalizePosesRequest(
                source_clip=_message(source.clip),
                source_track=_message(source.track),
                source_camera=_message(source.camera),
                target_clip=_message(clip),
                target_track=_message(track),
                target_camera=_message(camera),
                mode=self._options.normalization,
            ),
            "normalization",
        )
        self._board.finish(RESULT, "normalization")
        return Driven(
            track=_ref(answer.artifact),
            frame_count=answer.frame_count,
            valid_frame_count=answer.valid_frame_count,
            warnings=list(answer.warnings),
        )

    async def render(self, performer: Ref, driven: Driven) -> Rendered:
        self._board.begin(RESULT, "rendering", driven.frame_count)
        firsts = range(0, driven.frame_count, SHARD_FRAMES)
        shards = await self._in_parallel([self._render(performer, driven, first) for first in firsts])
        self._board.finish(RESULT, "rendering")
        return Rendered(shards=[_ref(shard) for shard in shards])

    async def encode(self, source: Study, driven: Driven, rendered: Rendered) -> Encoded:
        formats = self._options.formats or ["mp4"]
        wanted: list[tuple[str, str, str]] = [(name, name, "result") for name in formats]
        if self._options.side_by_side:
            wanted.append(("side_by_side", "mp4", "side_by_side"))
        self._board.begin(RESULT, "encoding", driven.valid_frame_count * len(wanted))
        outputs, dropped = [], 0
        for index, (name, form, layout) in enumerate(wanted):
            before = index * driven.valid_frame_count
            video = await self._encode(source, driven, rendered, form, layout, before)
            outputs.append(_output(name, video))
            dropped = video.dropped_frames
        self._board.finish(RESULT, "encoding")
        return Encoded(outputs=outputs, dropped_frames=dropped)

    async def _ingest_and_pose(
        self, clip: Clip, use: ClipUse, role: str
    ) -> tuple[types_pb2.Clip, list[pose_pb2.EstimatePosesResponse]]:
        request = downloader_pb2.IngestRequest(
            start_seconds=use.start_seconds, end_seconds=use.end_seconds, max_frames=use.max_frames
        )
        if clip.upload_sha256:
            request.upload_sha256 = clip.upload_sha256
        else:
            request.url = clip.url
        poses: dict[int, asyncio.Task[pose_pb2.EstimatePosesResponse]] = {}
        ingested = types_pb2.Clip()
        self._board.begin(role, "download")
        async with _one_error(), asyncio.TaskGroup() as group:

            def look(shard: types_pb2.FrameShard) -> None:
                if shard.first_frame not in poses:
                    self._board.begin(role, "pose")
                    poses[shard.first_frame] = group.create_task(self._estimate(shard, role))

            def on_update(update: downloader_pb2.IngestResponse) -> None:
                if update.HasField("progress"):
                    self._board.update(role, "download", update.progress.done, update.progress.total)
                    self._expect_frames(role, update.progress.total)
                elif update.HasField("shard"):
                    look(update.shard)
                else:
                    ingested.CopyFrom(update.clip)

            await self._call.stream(self._clients.downloader.Ingest, request, "download", on_update)
            for shard in ingested.shards:
                look(shard)
            self._board.update(role, "download", ingested.frame_count, ingested.frame_count)
            self._board.finish(role, "download")
            self._expect_frames(role, ingested.frame_count)
        ordered = [await poses[shard.first_frame] for shard in ingested.shards]
        return ingested, ordered

    def _expect_frames(self, role: str, frames: int) -> None:
        if frames:
            self._board.expect(role, ("pose", "camera", "segmentation", "plate"), frames)
            if role != TARGET:
                self._board.expect(RESULT, RESULT_STAGES, frames)

    async def _estimate(self, shard: types_pb2.FrameShard, role: str) -> pose_pb2.EstimatePosesResponse:
        async with self._shards_at_once:
            answer = await self._call.unary(
                self._clients.pose.EstimatePoses, pose_pb2.EstimatePosesRequest(shard=shard.artifact), "pose"
            )
        self._board.add(role, "pose", shard.frame_count)
        return answer

    async def _segment(self, study: Study, index: int) -> types_pb2.ArtifactRef:
        async with self._shards_at_once:
            answer = await self._call.unary(
                self._clients.segmentation.SegmentFrames,
                segmentation_pb2.SegmentFramesRequest(
                    shard=_message(study.shards[index]),
                    track=_message(study.track),
                    first_frame=study.first_frames[index],
                    pose_shard=_message(study.pose_shards[index]),
                ),
                "segmentation",
            )
        self._board.add(TARGET, "segmentation", answer.frame_count)
        return answer.artifact

    async def _train(
        self, study: Study, mattes: Sequence[types_pb2.ArtifactRef], plate: types_pb2.ArtifactRef
    ) -> trainer_pb2.Performer:
        performer = trainer_pb2.Performer()

        def on_update(update: trainer_pb2.TrainResponse) -> None:
            if update.HasField("progress"):
                self._board.update(TARGET, "training", update.progress.done, update.progress.total)
            elif update.HasField("performer"):
                performer.CopyFrom(update.performer)

        self._board.begin(TARGET, "training", self._options.iterations)
        request = trainer_pb2.TrainRequest(
            clip=_message(study.clip),
            track=_message(study.track),
            camera=_message(study.camera),
            matte_shards=mattes,
            plate=plate,
            preset=self._options.preset,
            iterations=self._options.iterations,
            seed=self._options.seed,
        )
        await self._call.stream(self._clients.trainer.Train, request, "training", on_update)
        self._board.finish(TARGET, "training")
        return performer

    async def _render(self, performer: Ref, driven: Driven, first: int) -> types_pb2.ArtifactRef:
        count = min(SHARD_FRAMES, driven.frame_count - first)
        async with self._shards_at_once:
            answer = await self._call.unary(
                self._clients.renderer.RenderFrames,
                renderer_pb2.RenderFramesRequest(
                    performer=_message(performer),
                    driven_track=_message(driven.track),
                    first_frame=first,
                    frame_count=count,
                ),
                "rendering",
            )
        self._board.add(RESULT, "rendering", count)
        return answer.artifact

    async def _encode(
        self, source: Study, driven: Driven, rendered: Rendered, form: str, layout: str, before: int
    ) -> renderer_pb2.Video:
        video = renderer_pb2.Video()

        def on_update(update: renderer_pb2.EncodeVideoResponse) -> None:
            if update.HasField("progress"):
                self._board.update(RESULT, "encoding", before + update.progress.done)
            else:
                video.CopyFrom(update.video)

        request = renderer_pb2.EncodeVideoRequest(
            rendered_shards=_messages(rendered.shards),
            driven_track=_message(driven.track),
            source_clip=_message(source.clip),
            source_track=_message(source.track),
            format=form,
            layout=layout,
        )
        await self._call.stream(self._clients.renderer.EncodeVideo, request, "encoding", on_update)
        return video

    async def _in_parallel(
        self, work: Sequence[Coroutine[Any, Any, types_pb2.ArtifactRef]]
    ) -> list[types_pb2.ArtifactRef]:
        async with _one_error(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
        return [task.result() for task in tasks]


@contextlib.asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """Of a group of failures, raises the one that the user can do most about."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = [error for error in _leaves(group) if isinstance(error, UnderstudyError)]
        if known:
            raise min(known, key=lambda error: error.http_status) from group
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _output(name: str, video: renderer_pb2.Video) -> Output:
    if not video.HasField("artifact"):
        raise Internal("the renderer ended without a video")
    return Output(
        name=name,
        artifact=_ref(video.artifact),
        object_name=video.object_name,
        width=video.width,
        height=video.height,
        frame_count=video.frame_count,
        frame_rate=Rate(numerator=video.frame_rate.numerator, denominator=video.frame_rate.denominator),
        has_audio=video.has_audio,
        size_bytes=video.size_bytes,
        media_type=MEDIA_TYPES[name],
    )


def _ref(message: types_pb2.ArtifactRef) -> Ref:
    return Ref(kind=message.kind, key=message.key)


def _message(ref: Ref) -> types_pb2.ArtifactRef:
    return types_pb2.ArtifactRef(kind=ref.kind, key=ref.key)


def _messages(refs: Sequence[Ref]) -> list[types_pb2.ArtifactRef]:
    return [_message(ref) for ref in refs]
