"""gRPC in and out of the trainer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from understudy.v1 import trainer_pb2, trainer_pb2_grpc

from services.common import rpc
from services.common.stage import Done, Emitted, Progress, StageRunner
from services.trainer.examiner import EvaluateRequest, Examiner, RowRequest
from services.trainer.heldout import heldout_recipe
from services.trainer.presets import run_config
from services.trainer.study import StudyRefs
from services.trainer.worker import Trainer, TrainRequest

Context = grpc.aio.ServicerContext[Any, Any]
Responses = AsyncIterator[trainer_pb2.TrainResponse]


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Train: a stream of progress and samples that ends with the performer. HoldOut and Evaluate judge it."""

    def __init__(self, runner: StageRunner, worker: Trainer, examiner: Examiner) -> None:
        self._runner, self._worker, self._examiner = runner, worker, examiner

    async def Train(self, request: trainer_pb2.TrainRequest, context: Context) -> Responses:
        """See trainer.proto."""
        del context
        order = self._from_message(request)
        recipe = self._worker.recipe(order)
        async for event in self._runner.run(recipe, lambda job, writer: self._worker.train(order, job, writer)):
            if isinstance(event, Progress):
                yield trainer_pb2.TrainResponse(progress=rpc.from_progress(event))
            elif isinstance(event, Emitted):
                yield trainer_pb2.TrainResponse(sample=rpc.from_facts(event.facts, trainer_pb2.TrainingSample))
            elif isinstance(event, Done):
                # Only after the commit: until then the checkpoint is all that a killed training leaves.
                await asyncio.to_thread(self._worker.forget_work, recipe)
                yield trainer_pb2.TrainResponse(performer=rpc.from_artifact(event.artifact, trainer_pb2.Performer))

    async def HoldOut(self, request: trainer_pb2.HoldOutRequest, context: Context) -> trainer_pb2.HoldOutResponse:
        """See trainer.proto."""
        del context
        performer, refs = rpc.expect_kind(rpc.to_ref(request.performer), "performer"), _study_of(request)
        done = await self._runner.result(
            heldout_recipe(performer, refs), lambda job, writer: self._worker.hold_out(performer, refs, job, writer)
        )
        return rpc.from_artifact(done.artifact, trainer_pb2.HoldOutResponse)

    async def Evaluate(self, request: trainer_pb2.EvaluateRequest, context: Context) -> trainer_pb2.EvaluateResponse:
        """See trainer.proto."""
        del context
        order = EvaluateRequest(
            rpc.expect_kind(rpc.to_ref(request.heldout), "heldout"),
            [
                RowRequest(
                    row.name,
                    [rpc.expect_kind(ref, "rendered_shard") for ref in rpc.to_refs(row.shards)],
                    [rpc.expect_kind(ref, "result_poses") for ref in rpc.to_refs(row.poses)],
                )
                for row in request.rows
            ],
        )
        done = await self._runner.result(
            self._examiner.recipe(order), lambda job, writer: self._examiner.evaluate(order, job, writer)
        )
        return rpc.from_artifact(done.artifact, trainer_pb2.EvaluateResponse)

    def _from_message(self, request: trainer_pb2.TrainRequest) -> TrainRequest:
        preset = request.preset or ("draft" if request.family == "draft" else self._worker.usual_preset())
        config = run_config(preset, request.family, request.iterations, request.seed, request.quality_target)
        initial = None
        if request.HasField("initial_performer"):
            initial = rpc.expect_kind(rpc.to_ref(request.initial_performer), "performer")
        return TrainRequest(_study_of(request), config, initial)


def _study_of(request: trainer_pb2.TrainRequest | trainer_pb2.HoldOutRequest) -> StudyRefs:
    return StudyRefs(
        clip=rpc.expect_kind(rpc.to_ref(request.clip), "clip"),
        track=rpc.expect_kind(rpc.to_ref(request.track), "pose_track"),
        camera=rpc.expect_kind(rpc.to_ref(request.camera), "camera_path"),
        matte_shards=[rpc.expect_kind(ref, "matte_shard") for ref in rpc.to_refs(request.matte_shards)],
        plate=rpc.expect_kind(rpc.to_ref(request.plate), "plate"),
    )
