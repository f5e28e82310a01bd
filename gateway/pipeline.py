"""What a transfer does, in plain words: study both clips, make the performer, fit the dance, render, encode.

Every call is idempotent and answers at once when its artifact is committed, so running any part of this again after
a crash costs only what had not been committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
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
from gateway.messages import one_error, to_message, to_messages, to_output, to_resource
from gateway.resources import Clip, ClipUse, Ref, TransferOptions
from gateway.results import Driven, Encoded, Rendered, Study, Trained

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
            clip=to_resource(clip_ref),
            shards=[to_resource(shard.artifact) for shard in ingested.shards],
            first_frames=[shard.first_frame for shard in ingested.shards],
            pose_shards=[to_resource(each) for each in pose_refs],
            track=to_resource(track.artifact),
            camera=to_resource(camera.artifact),
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
                clip=to_message(study.clip),
                camera=to_message(study.camera),
                matte_shards=mattes,
                pose_shards=to_messages(study.pose_shards),
            ),
            "plate",
        )
        self._board.finish(TARGET, "plate")
        performer = await self._train(study, mattes, plate.artifact)
        made = [*(to_resource(matte) for matte in mattes), to_resource(plate.artifact), to_resource(performer.artifact)]
        return Trained(
            performer=to_resource(performer.artifact),
            study=study,
            refs=[*study.refs(), *made],
            preset=performer.preset,
            metrics=dict(performer.metrics),
            nearest_metrics=dict(performer.nearest_metrics),
            draft_metrics=dict(performer.draft_metrics),
            warnings=[f"target: {warning}" for warning in (*plate.warnings, *performer.warnings)],
        )

    async def normalize(self, source: Study, clip: Ref, track: Ref, camera: Ref) -> Driven:
        """Fits the source's dance to the target's body; `clip`, `track` and `camera` are the target's."""
        self._board.begin(RESULT, "normalization", source.frame_count)
        answer = await self._call.unary(
            self._clients.normalization.NormalizePoses,
            normalization_pb2.NormalizePosesRequest(
                source_clip=to_message(source.clip),
                source_track=to_message(source.track),
                source_camera=to_message(source.camera),
                target_clip=to_message(clip),
                target_track=to_message(track),
                target_camera=to_message(camera),
                mode=self._options.normalization,
            ),
            "normalization",
        )
        self._board.finish(RESULT, "normalization")
        return Driven(
            track=to_resource(answer.artifact),
            frame_count=answer.frame_count,
            valid_frame_count=answer.valid_frame_count,
            warnings=list(answer.warnings),
        )

    async def render(self, performer: Ref, driven: Driven) -> Rendered:
        self._board.begin(RESULT, "rendering", driven.frame_count)
        firsts = range(0, driven.frame_count, SHARD_FRAMES)
        shards = await self._in_parallel([self._render(performer, driven, first) for first in firsts])
        self._board.finish(RESULT, "rendering")
        return Rendered(shards=[to_resource(shard) for shard in shards])

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
            outputs.append(to_output(name, video))
            dropped = video.dropped_frames
        self._board.finish(RESULT, "encoding")
        return Encoded(outputs=outputs, dropped_frames=dropped)

    async def _ingest_and_pose(
        self, clip: Clip, use: ClipUse, role: str
    ) -> tuple[types_pb2.Clip, list[pose_pb2.EstimatePosesResponse]]:
        request = downloader_pb2.IngestRequest(
            start_seconds=use.start_seconds,
            end_seconds=use.end_seconds,
            max_frames=use.max_frames,
            # A draft can be made of a photograph; every other performer is refused by the trainer, with numbers.
            min_frames=1 if role == TARGET and self._options.preset == "draft" else 0,
        )
        if clip.upload_sha256:
            request.upload_sha256 = clip.upload_sha256
        else:
            request.url = clip.url
        poses: dict[int, asyncio.Task[pose_pb2.EstimatePosesResponse]] = {}
        ingested = types_pb2.Clip()
        self._board.begin(role, "download")
        async with one_error(), asyncio.TaskGroup() as group:

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
                    shard=to_message(study.shards[index]),
                    track=to_message(study.track),
                    first_frame=study.first_frames[index],
                    pose_shard=to_message(study.pose_shards[index]),
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
            clip=to_message(study.clip),
            track=to_message(study.track),
            camera=to_message(study.camera),
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
                    performer=to_message(performer),
                    driven_track=to_message(driven.track),
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
            rendered_shards=to_messages(rendered.shards),
            driven_track=to_message(driven.track),
            source_clip=to_message(source.clip),
            source_track=to_message(source.track),
            format=form,
            layout=layout,
        )
        await self._call.stream(self._clients.renderer.EncodeVideo, request, "encoding", on_update)
        return video

    async def _in_parallel(
        self, work: Sequence[Coroutine[Any, Any, types_pb2.ArtifactRef]]
    ) -> list[types_pb2.ArtifactRef]:
        async with one_error(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
        return [task.result() for task in tasks]
