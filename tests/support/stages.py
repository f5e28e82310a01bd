"""What the tests of stages share: a computation that the test lets go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.common.artifacts import Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import UnderstudyError
from services.common.stage import Event, Job, StageRunner

RECIPE = Recipe("plate", "segmentation", 1)
WAIT_SECONDS = 30  # for the other thread to get there; reached only when a test fails


@asynccontextmanager
async def runner_of(artifacts: Artifacts, slots: int = 1) -> AsyncIterator[StageRunner]:
    """A runner that is drained afterwards, with nothing left behind."""
    runner = StageRunner(artifacts, slots)
    try:
        yield runner
    finally:
        await runner.drain(WAIT_SECONDS)
        assert runner.in_flight == 0


class Gate:
    """A computation that a test lets go on step by step and that counts how often it ran."""

    def __init__(self, facts: Facts | None = None, fail: BaseException | None = None) -> None:
        self.runs = 0
        self.entered, self.released = threading.Event(), threading.Event()
        self.stopped_by: UnderstudyError | None = None
        self._facts, self._fail = facts or {"made": True}, fail

    def __call__(self, job: Job, writer: ArtifactWriter) -> Facts:
        self.runs += 1
        job.emit({"shard": 0})
        job.progress(1, 2, "frames", "half way")
        self.entered.set()
        while not self.released.wait(0.005):
            try:
                job.check()
            except UnderstudyError as error:
                self.stopped_by = error
                raise
        if self._fail is not None:
            raise self._fail
        writer.put_bytes("plate.png", b"pixels")
        return self._facts

    async def reached(self) -> None:
        """Returns when the computation has begun."""
        assert await asyncio.to_thread(self.entered.wait, WAIT_SECONDS)


async def gather(runner: StageRunner, recipe: Recipe, compute: Callable[[Job, ArtifactWriter], Facts]) -> list[Event]:
    """All events of one call."""
    return [event async for event in runner.run(recipe, compute)]


async def until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what other threads do sets no asyncio.Event
            await asyncio.sleep(0.002)
