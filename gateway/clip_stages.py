"""What is done to one clip, whoever it is for: ingest, poses, whom to follow, camera, mattes, plate."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from understudy.v1 import downloader_pb2, pose_pb2, segmentation_pb2, types_pb2

from gateway.backgrounds import parse_background
from gateway.board import BACKGROUND, RESULT, RESULT_STAGES, SOURCE, TARGET, Board
from gateway.clients import StageCaller, StageClients
from gateway.config import GatewaySettings
from gateway.messages import one_error, to_message, to_messages, to_resource
from gateway.resources import Clip, ClipUse, Ref
from gateway.results import Study

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)


class ClipStages:
    """The stage calls on one clip. `board` hears how far they are, under the clip's role.

    stills: roles in which a photograph, a single frame, is enough.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clients: StageClients,
        board: Board,
        transfer_id: str,
        stills: tuple[str, ...] = (),
    ) -> None:
        self._stills = stills
        self._clients = clients
        self._board = board
        self._call = StageCaller(settings, transfer_id, clients.metrics)
        self._transfer_id = transfer_id

    @property
    def made(self) -> list[Ref]:
        """Every artifact that a stage has named so far."""
        return list(self._call.made.values())

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

    async def people(
        self, clip: Clip, use: ClipUse, role: str
    ) -> tuple[types_pb2.Clip, list[types_pb2.ArtifactRef], pose_pb2.ListPeopleResponse]:
        """Ingests a clip, finds poses in its shards as they appear, numbers everybody."""
        ingested, poses = await self._ingest_and_pose(clip, use, role)
        pose_shards = [each.artifact for each in poses]
        answer = await self._call.unary(
            self._clients.pose.ListPeople,
            pose_pb2.ListPeopleRequest(clip=ingested.artifact, pose_shards=pose_shards),
            "pose",
        )
        self._board.finish(role, "pose")
        return ingested, pose_shards, answer

    async def backdrop(self, study: Study, background: str, clip: Clip | None) -> Study:
        """The source's study with what it brings for what is behind the performer."""
        wanted = parse_background(background)
        if wanted.kind == "source":
            mattes, plate = await self.separate(study, SOURCE)
            refs = [plate.artifact, *mattes]
            warnings = [f"source: {warning}" for warning in plate.warnings]
        elif clip is not None:
            ingested = await self._ingest_background(clip)
            refs = [ingested.artifact, *(shard.artifact for shard in ingested.shards)]
            warnings = []
        else:
            return study
        made = [to_resource(ref) for ref in refs]
        return study.model_copy(
            update={"backdrop": made[0], "backdrop_refs": made, "warnings": [*study.warnings, *warnings]}
        )

    async def _ingest_background(self, clip: Clip) -> types_pb2.Clip:
        ingested = types_pb2.Clip()

        def on_update(update: downloader_pb2.IngestResponse) -> None:
            if update.HasField("progress"):
                self._board.update(BACKGROUND, "download", update.progress.done, update.progress.total)
            elif update.HasField("clip"):
                ingested.CopyFrom(update.clip)

        self._board.begin(BACKGROUND, "download")
        request = downloader_pb2.IngestRequest(min_frames=1)
        if clip.upload_sha256:
            request.upload_sha256 = clip.upload_sha256
        else:
            request.url = clip.url
        await self._call.stream(self._clients.downloader.Ingest, request, "download", on_update)
        self._board.update(BACKGROUND, "download", ingested.frame_count, ingested.frame_count)
        self._board.finish(BACKGROUND, "download")
        return ingested

    async def separate(
        self, study: Study, role: str
    ) -> tuple[list[types_pb2.ArtifactRef], segmentation_pb2.BuildPlateResponse]:
        """The subject's mattes, and the plate without anybody (BuildPlateResponse)."""
        self._board.begin(role, "segmentation", study.frame_count)
        mattes = await self._in_parallel([self._segment(study, index, role) for index in range(len(study.shards))])
        self._board.finish(role, "segmentation")
        self._board.begin(role, "plate", study.frame_count)
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
        self._board.finish(role, "plate")
        return mattes, plate

    async def _ingest_and_pose(
        self, clip: Clip, use: ClipUse, role: str
    ) -> tuple[types_pb2.Clip, list[pose_pb2.EstimatePosesResponse]]:
        request = downloader_pb2.IngestRequest(
            start_seconds=use.start_seconds,
            end_seconds=use.end_seconds,
            max_frames=use.max_frames,
            min_frames=1 if role in self._stills else 0,
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
        request = pose_pb2.EstimatePosesRequest(shard=shard.artifact)
        answer = await self._in_turn("pose", self._clients.pose.EstimatePoses, request, "pose")
        self._board.add(role, "pose", shard.frame_count)
        return answer

    async def _segment(self, study: Study, index: int, role: str) -> types_pb2.ArtifactRef:
        request = segmentation_pb2.SegmentFramesRequest(
            shard=to_message(study.shards[index]),
            track=to_message(study.track),
            first_frame=study.first_frames[index],
            pose_shard=to_message(study.pose_shards[index]),
        )
        answer = await self._in_turn("segmentation", self._clients.segmentation.SegmentFrames, request, "segmentation")
        self._board.add(role, "segmentation", answer.frame_count)
        return answer.artifact

    async def _in_turn(self, workers: str, method: grpc.aio.UnaryUnaryMultiCallable[Q, R], request: Q, stage: str) -> R:
        """The answer to a call on one shard, made when it is this transfer's turn at the workers of a stage."""
        async with self._clients.turns.turn(workers, self._transfer_id) as most_waiting:
            return await self._call.unary(method, request, stage, most_waiting=most_waiting)

    async def _in_parallel(
        self, work: Sequence[Coroutine[Any, Any, types_pb2.ArtifactRef]]
    ) -> list[types_pb2.ArtifactRef]:
        async with one_error(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
        return [task.result() for task in tasks]
