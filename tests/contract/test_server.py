"""What every stage service's server does: health, reflection, metrics, errors on the wire."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from understudy.v1 import pose_pb2, pose_pb2_grpc, trainer_pb2, trainer_pb2_grpc

from services.common import errors, rpc
from services.common.errors import UnderstudyError, all_errors
from services.common.server import Running, open_runner, start
from services.common.settings import ServiceSettings
from tests.support.sample_service import NAME, sample_service

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def serving(folder: Path, **settings: object) -> AsyncIterator[tuple[Running, grpc.aio.Channel]]:
    values = {"store_url": (folder / "store").as_uri(), "cache_dir": folder / "cache", **settings}
    given = ServiceSettings(**values)  # type: ignore[arg-type]
    running = await start(sample_service(open_runner(given), folder / "log"), given)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            yield running, channel
    finally:
        await running.stop(10)


async def health_until(channel: grpc.aio.Channel, wanted: int, name: str = NAME) -> list[int]:
    """Watches health until it is as wanted; what was seen on the way."""
    seen: list[int] = []
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=50)
    async for answer in watch:
        seen.append(answer.status)
        if answer.status == wanted:
            watch.cancel()
            return seen
    raise AssertionError(seen)


async def metrics_of(running: Running) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{running.metrics_port}/metrics")).text


async def test_health_is_serving_once_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "log.missing").touch()
    async with serving(tmp_path) as (running, channel):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in (NAME, ""):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == NOT_SERVING
        assert "understudy_ready 0.0" in await metrics_of(running)
        (tmp_path / "log.missing").unlink()
        assert await health_until(channel, SERVING) == [NOT_SERVING, SERVING]
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await stub.Check(health_pb2.HealthCheckRequest(service="understudy.v1.Nothing"))


async def test_a_model_that_breaks_while_loading_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "log.broken").touch()
    async with serving(tmp_path) as (_, channel):
        await health_until(channel, NOT_SERVING)
        (tmp_path / "log.broken").unlink()
        await health_until(channel, SERVING)


async def test_health_follows_the_store(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        await health_until(channel, SERVING)
        (tmp_path / "store").rename(tmp_path / "elsewhere")
        await health_until(channel, NOT_SERVING)
        (tmp_path / "elsewhere").rename(tmp_path / "store")
        await health_until(channel, SERVING)


async def test_reflection_names_the_services_and_describes_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME),
        ]
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        names, described = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
        listed = {service.name for service in names.list_services_response.service}
        assert {NAME, "grpc.health.v1.Health"} <= listed
        assert b"EstimatePoses" in b"".join(described.file_descriptor_response.file_descriptor_proto)


async def test_metrics_count_calls_by_outcome(tmp_path: Path) -> None:
    async with serving(tmp_path) as (running, channel):
        pose, trainer = pose_pb2_grpc.PoseServiceStub(channel), trainer_pb2_grpc.TrainerServiceStub(channel)
        for backend in ("work", "work", "fail:NO_PERSON_FOUND", "fault"):
            try:
                await pose.EstimatePoses(pose_pb2.EstimatePosesRequest(backend=backend))
            except grpc.aio.AioRpcError:
                continue
        async for _ in trainer.Train(trainer_pb2.TrainRequest(iterations=3)):
            pass
        text = await metrics_of(running)
    for line in (
        'understudy_calls_total{code="OK",method="EstimatePoses",service="pose"} 2.0',
        'understudy_calls_total{code="INVALID_ARGUMENT",method="EstimatePoses",service="pose"} 1.0',
        'understudy_calls_total{code="INTERNAL",method="EstimatePoses",service="pose"} 1.0',
        'understudy_calls_total{code="OK",method="Train",service="trainer"} 1.0',
        'understudy_call_duration_seconds_count{method="EstimatePoses",service="pose"} 4.0',
        'understudy_calls_running{method="Train",service="trainer"} 0.0',
        'understudy_stage_results_total{outcome="computed",stage="pose"} 1.0',
        'understudy_stage_results_total{outcome="found",stage="pose"} 1.0',
        'understudy_stage_results_total{outcome="computed",stage="training"} 1.0',
    ):
        assert line in text.splitlines(), text
    assert "Check" not in text


async def test_metrics_may_be_left_out(tmp_path: Path) -> None:
    async with serving(tmp_path, metrics_port=-1) as (running, channel):
        assert running.metrics_port == -1
        await health_until(channel, SERVING)


async def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="port"):
            async with serving(tmp_path, listen_port=taken.getsockname()[1]):
                pass


CONCRETE = [kind for kind in all_errors() if kind is not UnderstudyError]


async def raised(call: object) -> UnderstudyError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return rpc.from_rpc_error(caught.value)


async def test_every_error_crosses_the_wire_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        pose, trainer = pose_pb2_grpc.PoseServiceStub(channel), trainer_pb2_grpc.TrainerServiceStub(channel)
        for kind in CONCRETE:
            request = pose_pb2.EstimatePosesRequest(backend=f"fail:{kind.reason}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await pose.EstimatePoses(request)
            assert caught.value.code() is grpc.StatusCode[kind.grpc_code]
            error = rpc.from_rpc_error(caught.value)
            assert type(error) is kind
            assert error.message == "what happened\nand why: ä"
            assert error.metadata == {"frames": "412"}
            assert (
                type(await raised(trainer.Train(trainer_pb2.TrainRequest(preset=f"fail:{kind.reason}")).read())) is kind
            )


async def test_a_stream_may_end_in_an_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        trainer = trainer_pb2_grpc.TrainerServiceStub(channel)
        call: Any = trainer.Train(trainer_pb2.TrainRequest(iterations=2, family="fails"))
        updates = [(await call.read()).WhichOneof("update") for _ in range(4)]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert updates == ["sample", "progress"] * 2
        assert isinstance(rpc.from_rpc_error(caught.value), errors.ClipTooShort)


async def test_a_fault_of_ours_does_not_tell_what_it_saw(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        stub = pose_pb2_grpc.PoseServiceStub(channel)
        error = await raised(stub.EstimatePoses(pose_pb2.EstimatePosesRequest(backend="fault")))
        assert type(error) is errors.Internal
        assert "1234" not in error.message
        assert "EstimatePoses" in error.message


async def test_an_error_with_much_to_say_still_arrives(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        stub = pose_pb2_grpc.PoseServiceStub(channel)
        error = await raised(stub.EstimatePoses(pose_pb2.EstimatePosesRequest(backend="large")))
        assert type(error) is errors.InvalidInput
        assert error.message.startswith("much to say")


async def test_failures_of_the_transport_are_errors_of_ours(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, channel):
        pose = pose_pb2_grpc.PoseServiceStub(channel)
        assert isinstance(await raised(pose.AssembleTrack(pose_pb2.AssembleTrackRequest())), errors.Internal)
        late = pose.EstimatePoses(pose_pb2.EstimatePosesRequest(backend="wait"), timeout=0.2)
        assert isinstance(await raised(late), errors.DeadlineExceeded)
    async with grpc.aio.insecure_channel("127.0.0.1:9") as nobody:
        down = pose_pb2_grpc.PoseServiceStub(nobody).EstimatePoses(pose_pb2.EstimatePosesRequest())
        assert isinstance(await raised(down), errors.ServiceUnavailable)
