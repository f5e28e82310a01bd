"""A small stage service for tests of what all services share. `python -m tests.support.sample_service` serves it.

`EstimatePoses` does what `backend` says: "work", "wait" (until stopped), "fail:REASON", "fault", "large".
`Train` streams samples until it is stopped, or ends after `iterations`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from understudy.v1 import pose_pb2, pose_pb2_grpc, trainer_pb2, trainer_pb2_grpc

from services.common import errors, rpc
from services.common.artifacts import ArtifactWriter, Facts, Recipe
from services.common.server import Service, open_runner, run
from services.common.settings import ServiceSettings
from services.common.stage import Done, Emitted, Job, Progress, StageRunner

Context = grpc.aio.ServicerContext[Any, Any]
NAME = "understudy.v1.PoseService"


class SampleServicer(pose_pb2_grpc.PoseServiceServicer, trainer_pb2_grpc.TrainerServiceServicer):
    """Two services in one process. `log`: a file that gets one line for every computation that begins or stops."""

    def __init__(self, runner: StageRunner, log: Path) -> None:
        self._runner, self._log = runner, log

    async def EstimatePoses(  # noqa: N802
        self, request: pose_pb2.EstimatePosesRequest, context: Context
    ) -> pose_pb2.EstimatePosesResponse:
        if request.backend.startswith("fail:"):
            raise errors.by_reason(request.backend.removeprefix("fail:"))("what happened\nand why: ä", frames=412)
        if request.backend == "fault":
            raise ZeroDivisionError("the password is 1234")
        if request.backend == "large":
            raise errors.InvalidInput("much to say " * 10_000, **{f"name{index}": "v" * 1000 for index in range(99)})
        recipe = Recipe("pose_shard", "sample", 1, options={"backend": request.backend})
        compute = self._wait if request.backend.startswith("wait") else self._work
        done = await self._runner.result(recipe, compute)
        return rpc.from_artifact(done.artifact, pose_pb2.EstimatePosesResponse)

    async def AssembleTrack(  # noqa: N802
        self, request: pose_pb2.AssembleTrackRequest, context: Context
    ) -> pose_pb2.AssembleTrackResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

    async def ListPeople(  # noqa: N802
        self, request: pose_pb2.ListPeopleRequest, context: Context
    ) -> pose_pb2.ListPeopleResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

    async def Train(  # noqa: N802
        self, request: trainer_pb2.TrainRequest, context: Context
    ) -> AsyncIterator[trainer_pb2.TrainResponse]:
        if request.preset.startswith("fail:"):
            raise errors.by_reason(request.preset.removeprefix("fail:"))("at once")
        recipe = Recipe("performer", "sample", 1, options={"iterations": request.iterations})

        def compute(job: Job, writer: ArtifactWriter) -> Facts:
            return self._train(job, request.iterations, request.family)

        async for event in self._runner.run(recipe, compute):
            match event:
                case Progress():
                    yield trainer_pb2.TrainResponse(progress=rpc.from_progress(event))
                case Emitted(facts):
                    yield trainer_pb2.TrainResponse(sample=rpc.from_facts(facts, trainer_pb2.TrainingSample))
                case Done(artifact):
                    yield trainer_pb2.TrainResponse(performer=rpc.from_artifact(artifact, trainer_pb2.Performer))

    async def HoldOut(  # noqa: N802
        self, request: trainer_pb2.HoldOutRequest, context: Context
    ) -> trainer_pb2.HoldOutResponse:
        raise errors.InvalidOption("the sample holds nothing out")

    async def Evaluate(  # noqa: N802
        self, request: trainer_pb2.EvaluateRequest, context: Context
    ) -> trainer_pb2.EvaluateResponse:
        raise errors.InvalidOption("the sample measures nothing")

    def _work(self, job: Job, writer: ArtifactWriter) -> Facts:
        self._note("work")
        return {"frame_count": 64}

    def _wait(self, job: Job, writer: ArtifactWriter) -> Facts:
        self._note("began")
        self._until_stopped(job)
        raise AssertionError("unreachable")

    def _train(self, job: Job, iterations: int, family: str) -> Facts:
        self._note("began")
        done = 0
        while done != iterations:
            done += 1
            job.emit({"iteration": done})
            job.progress(done, iterations, "iterations")
            if iterations < 0:
                time.sleep(0.001)
                if job.stopped:
                    self._until_stopped(job)
        if family == "fails":
            raise errors.ClipTooShort("at the end")
        return {"iterations": done}

    def _until_stopped(self, job: Job) -> None:
        while True:
            try:
                job.check()
            except errors.UnderstudyError as error:
                self._note(f"stopped by {type(error).__name__}")
                raise
            time.sleep(0.002)

    def _note(self, line: str) -> None:
        with self._log.open("a") as file:
            file.write(f"{line}\n")


def sample_service(runner: StageRunner, log: Path) -> Service:
    """The service, and a `load` that fails while a file beside `log` says so."""
    servicer = SampleServicer(runner, log)

    def register(server: grpc.aio.Server) -> None:
        pose_pb2_grpc.add_PoseServiceServicer_to_server(servicer, server)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(servicer, server)

    def load() -> None:
        if log.with_suffix(".missing").exists():
            raise errors.WeightsMissing("no weights on this machine: run make setup")
        if log.with_suffix(".broken").exists():
            raise OSError("the library of the model cannot be loaded")

    return Service("sample", NAME, register, load, runner)


if __name__ == "__main__":
    settings = ServiceSettings()  # filled from the environment
    run(sample_service(open_runner(settings), Path(os.environ["SAMPLE_LOG"])), settings)
    sys.exit(1)
