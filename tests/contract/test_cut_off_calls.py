"""Calls that a stopping server cuts off are made again; those that the gateway gives up are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from understudy.v1 import pose_pb2

from gateway.clients import StageCaller, StageClients
from gateway.config import GatewaySettings


class CutOff:
    """Ends the first calls as grpc ends those that outlive a server's grace, or holds every call until `go_on`."""

    def __init__(self) -> None:
        self.calls, self.cut_off = 0, 0
        self.called, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def estimate_poses(self, request: Any, context: Any) -> pose_pb2.EstimatePosesResponse:
        del request
        self.calls += 1
        self.called.set()
        if self.calls <= self.cut_off:
            await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        await self.go_on.wait()
        return pose_pb2.EstimatePosesResponse()

    def handler(self) -> grpc.GenericRpcHandler:
        method = grpc.unary_unary_rpc_method_handler(
            self.estimate_poses,
            request_deserializer=pose_pb2.EstimatePosesRequest.FromString,
            response_serializer=pose_pb2.EstimatePosesResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("understudy.v1.PoseService", {"EstimatePoses": method})


@pytest.fixture
async def worker() -> AsyncIterator[tuple[CutOff, str]]:
    servicer, server = CutOff(), grpc.aio.server()
    server.add_generic_rpc_handlers((servicer.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
async def clients(worker: tuple[CutOff, str], tmp_path: Path) -> AsyncIterator[tuple[StageClients, StageCaller]]:
    settings = GatewaySettings(
        store_url="memory://", database_url=f"sqlite:///{tmp_path / 'gateway.db'}", pose_address=worker[1]
    )
    opened = StageClients(settings)
    yield opened, StageCaller(settings, "transfer", opened.metrics)
    await opened.close()


async def test_a_call_that_the_server_cut_off_is_made_again(
    worker: tuple[CutOff, str], clients: tuple[StageClients, StageCaller]
) -> None:
    servicer, (stubs, caller) = worker[0], clients
    servicer.cut_off = 2
    await caller.unary(stubs.pose.EstimatePoses, pose_pb2.EstimatePosesRequest(), "pose")
    assert servicer.calls == 3


async def test_a_call_that_the_gateway_gives_up_is_not(
    worker: tuple[CutOff, str], clients: tuple[StageClients, StageCaller]
) -> None:
    servicer, (stubs, caller) = worker[0], clients
    servicer.go_on.clear()
    call = asyncio.create_task(caller.unary(stubs.pose.EstimatePoses, pose_pb2.EstimatePosesRequest(), "pose"))
    await servicer.called.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    servicer.go_on.set()
    await asyncio.sleep(0.5)
    assert servicer.calls == 1
