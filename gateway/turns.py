"""Whose shard is next: bounded work a stage, fair between transfers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gateway.metrics import GatewayMetrics


@dataclass
class _Stage:
    limit: int
    in_flight: int = 0
    most_waiting: int | None = None
    waiting: OrderedDict[str, deque[asyncio.Future[None]]] = field(default_factory=OrderedDict)


class Turns:
    """At most `limit` shards of one stage are in flight, however many transfers want it. A free turn goes to each
    transfer that waits, one after the other, so that a long one never starves a short one. One event loop."""

    def __init__(self, limit: int, metrics: GatewayMetrics) -> None:
        self._limit = limit
        self._metrics = metrics
        self._stages: dict[str, _Stage] = {}

    def allow(self, stage: str, limit: int, most_waiting: int | None = None) -> None:
        """From now on so many of this stage; those that are in flight beyond it end in their own time.

        most_waiting: how many of them may wait at one worker; None: any number.
        """
        entry = self._stage(stage)
        entry.limit, entry.most_waiting = limit, most_waiting
        while entry.in_flight < entry.limit and self._give(entry):
            entry.in_flight += 1

    @contextlib.asynccontextmanager
    async def turn(self, stage: str, transfer_id: str) -> AsyncIterator[int | None]:
        """Waits for a turn and keeps it for the block. Yields how many may wait at the worker before this one."""
        entry = self._stage(stage)
        await self._wait(stage, entry, transfer_id)
        in_flight = self._metrics.shards.labels(stage, "in_flight")
        in_flight.inc()
        try:
            yield entry.most_waiting
        finally:
            in_flight.dec()
            self._pass_on(entry)

    async def _wait(self, stage: str, entry: _Stage, transfer_id: str) -> None:
        if entry.in_flight < entry.limit:
            entry.in_flight += 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry.waiting.setdefault(transfer_id, deque()).append(mine)
        waiting = self._metrics.shards.labels(stage, "waiting")
        waiting.inc()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # the turn came at the same moment: somebody else shall have it
                self._pass_on(entry)
            raise
        finally:
            waiting.dec()

    def _stage(self, stage: str) -> _Stage:
        return self._stages.setdefault(stage, _Stage(self._limit))

    def _pass_on(self, entry: _Stage) -> None:
        """Somebody's turn is over."""
        if entry.in_flight > entry.limit or not self._give(entry):
            entry.in_flight -= 1

    def _give(self, entry: _Stage) -> bool:
        """Gives a turn to the transfer that has waited longest since its last one. False when nobody waits."""
        while entry.waiting:
            transfer_id, queue = entry.waiting.popitem(last=False)
            while queue and queue[0].done():
                queue.popleft()
            if queue:
                queue.popleft().set_result(None)
                if queue:
                    entry.waiting[transfer_id] = queue
                return True
        return False
