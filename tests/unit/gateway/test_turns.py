"""Turns: bounded, fair between transfers, never lost."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from gateway.metrics import GatewayMetrics
from gateway.turns import Turns


def shards(metrics: GatewayMetrics, state: str) -> float:
    return metrics.registry.get_sample_value("understudy_shards", {"stage": "pose", "state": state}) or 0.0


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Work:
    """Shards that are held until they are let go, in the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.began: list[str] = []
        self.held: list[asyncio.Event] = []

    async def shard(self, transfer_id: str, stage: str = "pose") -> None:
        async with self._turns.turn(stage, transfer_id):
            self.began.append(transfer_id)
            self.held.append(asyncio.Event())
            await self.held[-1].wait()

    async def let_go(self) -> None:
        self.held.pop(0).set()
        await settle()


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics(CollectorRegistry())


async def test_a_short_transfer_is_served_in_turn_with_a_long_one(metrics: GatewayMetrics) -> None:
    work = Work(Turns(2, metrics))
    tasks = [asyncio.create_task(work.shard("long")) for _ in range(100)]
    await settle()
    tasks += [asyncio.create_task(work.shard(name)) for name in ("short", "short", "other")]
    await settle()
    assert work.began == ["long", "long"]
    assert (shards(metrics, "in_flight"), shards(metrics, "waiting")) == (2, 101)
    for _ in range(6):
        await work.let_go()
    assert work.began[2:] == ["long", "short", "other", "long", "short", "long"]
    while work.held:
        await work.let_go()
    await asyncio.gather(*tasks)
    assert (shards(metrics, "in_flight"), shards(metrics, "waiting")) == (0, 0)


async def test_stages_do_not_wait_for_each_other(metrics: GatewayMetrics) -> None:
    work = Work(Turns(1, metrics))
    tasks = [asyncio.create_task(work.shard("a")), asyncio.create_task(work.shard("a", "segmentation"))]
    await settle()
    assert len(work.began) == 2
    while work.held:
        await work.let_go()
    await asyncio.gather(*tasks)


async def test_who_goes_away_while_waiting_or_at_work_loses_no_turn(metrics: GatewayMetrics) -> None:
    turns = Turns(1, metrics)
    work = Work(turns)
    first, second, third = (asyncio.create_task(work.shard(name)) for name in "abc")
    await settle()
    second.cancel()
    first.cancel()
    await settle()
    assert work.began == ["a", "c"]
    third.cancel()
    await settle()
    async with asyncio.timeout(1), turns.turn("pose", "d"):
        assert shards(metrics, "in_flight") == 1
    assert (shards(metrics, "in_flight"), shards(metrics, "waiting")) == (0, 0)


async def test_a_turn_that_comes_as_its_owner_leaves_goes_to_the_next(metrics: GatewayMetrics) -> None:
    work = Work(Turns(1, metrics))
    tasks = [asyncio.create_task(work.shard(name)) for name in "abc"]
    await settle()
    work.held.pop(0).set()
    await asyncio.sleep(0)  # a ends: the turn is b's, who has not heard of it yet
    tasks[1].cancel()
    await settle()
    assert work.began[-1] == "c"
    await work.let_go()
    await asyncio.gather(tasks[0], tasks[2])
