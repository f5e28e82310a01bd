"""Deadlines, callers that go away, SIGTERM, and the end of the process that started the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import pose_pb2, pose_pb2_grpc, trainer_pb2, trainer_pb2_grpc

from services.common import errors, rpc
from tests.support.sample_service import NAME
from tests.support.stages import until

WAIT = pose_pb2.EstimatePosesRequest(backend="wait")
ENDLESS = trainer_pb2.TrainRequest(iterations=-1)


class Served:
    """A service in a process of its own, as a cluster or the command line starts it."""

    def __init__(self, process: Process, channel: grpc.aio.Channel, log: Path) -> None:
        self.process, self.channel, self._log = process, channel, log
        self.pose = pose_pb2_grpc.PoseServiceStub(channel)
        self.trainer = trainer_pb2_grpc.TrainerServiceStub(channel)

    def noted(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    async def has_noted(self, line: str) -> None:
        await until(lambda: line in self.noted())

    async def ended(self) -> int:
        async with asyncio.timeout(50):
            return await self.process.wait()


@asynccontextmanager
async def served(folder: Path, repository: Path, parent_pipe: int = -1) -> AsyncIterator[Served]:
    environment = {
        **os.environ,
        "UNDERSTUDY_STORE_URL": (folder / "store").as_uri(),
        "UNDERSTUDY_METRICS_PORT": "-1",
        "UNDERSTUDY_GRACE_SECONDS": "10",
        "UNDERSTUDY_SLOTS": "2",
        "UNDERSTUDY_PARENT_PIPE": str(parent_pipe),
        "SAMPLE_LOG": str(folder / "log"),
    }
    with (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.sample_service",
            cwd=repository, env=environment, stdout=PIPE, stderr=stderr,
            pass_fds=(parent_pipe,) if parent_pipe >= 0 else (),
        )  # fmt: skip
    assert process.stdout is not None
    try:
        port = json.loads(await process.stdout.readline())["port"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(process, channel, folder / "log")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # or its pipe is collected open


def logged(folder: Path, event: str) -> bool:
    records = [json.loads(line) for line in (folder / "stderr").read_text().splitlines()]
    return any(record["event"] == event for record in records)


async def error_of(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_deadline_stops_the_work(tmp_path: Path, repository: Path) -> None:
    async with served(tmp_path, repository) as service:
        error = await error_of(service.pose.EstimatePoses(WAIT, timeout=1))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await service.has_noted("stopped by Cancelled")


async def test_a_cancelled_call_stops_the_work(tmp_path: Path, repository: Path) -> None:
    async with served(tmp_path, repository) as service:
        call = service.pose.EstimatePoses(WAIT)
        await service.has_noted("began")
        call.cancel()
        await service.has_noted("stopped by Cancelled")


@pytest.mark.parametrize("read", [0, 1, 40])
async def test_a_cancelled_stream_stops_the_work(tmp_path: Path, repository: Path, read: int) -> None:
    async with served(tmp_path, repository) as service:
        call = service.trainer.Train(ENDLESS)
        for _ in range(read):
            await call.read()
        await service.has_noted("began")
        call.cancel()
        await service.has_noted("stopped by Cancelled")
    text = (tmp_path / "stderr").read_text()
    assert "Traceback" not in text, text


async def test_a_client_that_dies_stops_the_work(tmp_path: Path, repository: Path) -> None:
    async with served(tmp_path, repository) as service:
        call = service.trainer.Train(ENDLESS)
        await call.read()
        await service.channel.close()
        await service.has_noted("stopped by Cancelled")


async def test_one_of_two_callers_may_leave(tmp_path: Path, repository: Path) -> None:
    async with served(tmp_path, repository) as service:
        first, second = service.trainer.Train(ENDLESS), service.trainer.Train(ENDLESS)
        await first.read()
        await second.read()
        first.cancel()
        for _ in range(100):
            assert await second.read() is not grpc.aio.EOF
        assert service.noted() == ["began"]
        second.cancel()
        await service.has_noted("stopped by Cancelled")


async def test_sigterm_drains(tmp_path: Path, repository: Path) -> None:
    async with served(tmp_path, repository) as service:
        health: Any = health_pb2_grpc.HealthStub(service.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=NAME))
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        calls = [service.pose.EstimatePoses(WAIT), service.trainer.Train(ENDLESS)]
        await until(lambda: service.noted().count("began") == 2)
        reading = asyncio.create_task(drained(calls[1]))
        service.process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        for error in (await error_of(calls[0]), await reading):
            told = rpc.from_rpc_error(error)
            assert isinstance(told, errors.ServiceUnavailable)
            assert told.retryable
        assert await service.ended() == 0
        assert service.noted().count("stopped by ServiceUnavailable") == 2
    text = (tmp_path / "stderr").read_text()
    assert "Traceback" not in text, text
    assert logged(tmp_path, "draining")


async def drained(call: Any) -> grpc.aio.AioRpcError:
    """Reads a stream to its end, which is an error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_an_idle_service_ends_when_told(tmp_path: Path, repository: Path, name: str) -> None:
    async with served(tmp_path, repository) as service:
        service.process.send_signal(getattr(signal, name))
        assert await service.ended() == 0


async def test_a_service_ends_with_the_process_that_started_it(tmp_path: Path, repository: Path) -> None:
    reading, writing = os.pipe()
    try:
        async with served(tmp_path, repository, parent_pipe=reading) as service:
            call = service.pose.EstimatePoses(WAIT)
            await service.has_noted("began")
            os.close(writing)
            writing = -1
            assert isinstance(rpc.from_rpc_error(await error_of(call)), errors.ServiceUnavailable)
            assert await service.ended() == 0
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


async def test_work_that_was_cut_off_is_done_by_the_next_process(tmp_path: Path, repository: Path) -> None:
    request = pose_pb2.EstimatePosesRequest(backend="work")
    for attempt in range(2):
        async with served(tmp_path, repository) as service:
            answer = await service.pose.EstimatePoses(request)
            assert answer.frame_count == 64
            service.process.kill()
            assert await service.ended() == -signal.SIGKILL
            assert service.noted() == ["work"], attempt


async def test_calls_carry_their_context_into_the_log(tmp_path: Path, repository: Path) -> None:
    async with served(tmp_path, repository) as service:
        call: Callable[..., object] = service.pose.EstimatePoses
        metadata = (("x-transfer-id", "t-1"), ("x-stage", "pose"), ("x-shard", "7"), ("x-request-id", "r-1"))
        await error_of(call(pose_pb2.EstimatePosesRequest(backend="fault"), metadata=metadata))
    records = [json.loads(line) for line in (tmp_path / "stderr").read_text().splitlines()]
    record = next(record for record in records if record["event"] == "call failed")
    context = {"transfer_id": "t-1", "stage": "pose", "shard": "7", "request_id": "r-1", "method": "EstimatePoses"}
    assert context.items() <= record.items()
    assert "ZeroDivisionError: the password is 1234" in record["exception"]
