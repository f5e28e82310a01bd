"""Workers are counted by the addresses of their name."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.config import GatewaySettings
from gateway.metrics import GatewayMetrics
from gateway.turns import Turns
from gateway.workers import count_workers, follow_workers


@pytest.mark.parametrize(
    ("address", "workers"),
    [("127.0.0.1:50052", 1), ("dns:///127.0.0.1:50052", 1), ("[::1]:50052", 1), ("ipv4:10.0.0.1:1,10.0.0.2:1", 2),
     ("no-such-name.invalid:50052", 0)],
)  # fmt: skip
async def test_addresses_are_counted(address: str, workers: int) -> None:
    assert await count_workers(address) == workers


async def test_the_gateway_sends_two_shards_a_worker_and_never_fewer_than_four(tmp_path: Path) -> None:
    many = "ipv4:" + ",".join(f"10.0.0.{number}:1" for number in range(40))
    settings = GatewaySettings(store_url="memory://", database_url="sqlite://", pose_address=many)
    metrics = GatewayMetrics(CollectorRegistry())
    turns = Turns(4, metrics)
    following = asyncio.create_task(follow_workers(settings, turns))
    held: dict[str, int] = {"pose": 0, "segmentation": 0}
    stop = asyncio.Event()

    async def shard(stage: str) -> None:
        async with turns.turn(stage, "t"):
            held[stage] += 1
            await stop.wait()

    tasks = [asyncio.create_task(shard(stage)) for stage in held for _ in range(100)]
    try:
        async with asyncio.timeout(20):
            while held["pose"] < 80:  # noqa: ASYNC110 - names are looked up in a thread
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert held == {"pose": 80, "segmentation": 4}
        turns.allow("pose", 2)  # the workers went
        stop.set()
        await asyncio.gather(*tasks)
        assert held == {"pose": 100, "segmentation": 100}
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
