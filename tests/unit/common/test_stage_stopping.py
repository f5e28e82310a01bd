"""The stage runner: abandoned work stops, and a draining worker takes no more."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.common.artifacts import Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import Cancelled, ServiceUnavailable
from services.common.stage import Emitted, Job, StageRunner
from tests.support.stages import RECIPE, WAIT_SECONDS, Gate, runner_of, until


async def test_the_last_caller_who_leaves_stops_the_work(artifacts: Artifacts) -> None:
    gate = Gate()
    async with runner_of(artifacts) as runner:
        callers = [asyncio.create_task(runner.result(RECIPE, gate)) for _ in range(2)]
        await gate.reached()
        await until(lambda: len(runner._flights[RECIPE.key].listeners) == len(callers))
        callers[0].cancel()
        await asyncio.wait([callers[0]])
        assert not runner._flights[RECIPE.key].job.stopped
        callers[1].cancel()
        await asyncio.wait([callers[1]])
        await until(lambda: runner.in_flight == 0)
    assert isinstance(gate.stopped_by, Cancelled)
    assert all(caller.cancelled() for caller in callers)
    assert not artifacts.exists(RECIPE.ref)


async def test_a_caller_who_stops_iterating_leaves(artifacts: Artifacts) -> None:
    gate = Gate()
    async with runner_of(artifacts) as runner:
        events = runner.run(RECIPE, gate)
        assert await anext(events) == Emitted({"shard": 0})
        await events.aclose()
        await until(lambda: runner.in_flight == 0)
    assert isinstance(gate.stopped_by, Cancelled)


async def test_abandoned_work_that_winds_down_is_begun_anew(artifacts: Artifacts) -> None:
    winding_down, go_on = threading.Event(), threading.Event()

    def slow_to_stop(job: Job, writer: ArtifactWriter) -> Facts:
        while not job.stopped:
            go_on.wait(0.002)
        winding_down.set()
        assert go_on.wait(WAIT_SECONDS)  # writes its checkpoint
        job.check()
        raise AssertionError("unreachable")

    again = Gate({"made": "anew"})
    again.released.set()
    async with runner_of(artifacts) as runner:
        first = asyncio.create_task(runner.result(RECIPE, slow_to_stop))
        await until(lambda: runner.in_flight == 1)
        first.cancel()
        assert await asyncio.to_thread(winding_down.wait, WAIT_SECONDS)
        second = asyncio.create_task(runner.result(RECIPE, again))
        await asyncio.sleep(0.01)
        assert again.runs == 0
        go_on.set()
        done = await second
    assert done.artifact.facts == {"made": "anew"}
    assert again.runs == 1


async def test_abandoned_work_that_finishes_all_the_same_is_kept(artifacts: Artifacts) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def deaf(job: Job, writer: ArtifactWriter) -> Facts:
        entered.set()
        assert go_on.wait(WAIT_SECONDS)
        return {"made": "by the deaf"}

    other = Gate()
    async with runner_of(artifacts) as runner:
        first = asyncio.create_task(runner.result(RECIPE, deaf))
        assert await asyncio.to_thread(entered.wait, WAIT_SECONDS)
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(runner.result(RECIPE, other))
        await asyncio.sleep(0.01)
        go_on.set()
        done = await second
    assert done.artifact.facts == {"made": "by the deaf"}
    assert other.runs == 0


async def test_work_that_nobody_waits_for_before_it_began_never_begins(artifacts: Artifacts) -> None:
    busy, queued = Gate(), Gate()
    async with runner_of(artifacts, slots=1) as runner:
        first = asyncio.create_task(runner.result(Recipe("plate", "s", 1), busy))
        await busy.reached()
        second = asyncio.create_task(runner.result(Recipe("plate", "s", 2), queued))
        await until(lambda: runner.in_flight == 2)
        second.cancel()
        await asyncio.wait([second])
        busy.released.set()
        await first
        await until(lambda: runner.in_flight == 0)
    assert queued.runs == 0


async def test_draining_stops_work_and_takes_no_more(artifacts: Artifacts) -> None:
    known, running, queued, refused = (Recipe("plate", "s", version) for version in range(4))
    artifacts.commit(artifacts.write(known), {})
    gate = Gate()
    runner = StageRunner(artifacts, 1)
    calls = [asyncio.create_task(runner.result(recipe, gate)) for recipe in (running, queued)]
    await gate.reached()
    await until(lambda: runner.in_flight == 2)
    drained = asyncio.create_task(runner.drain(WAIT_SECONDS))
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable, match="call another"):
        await runner.result(refused, gate)
    await drained
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, ServiceUnavailable)
    assert isinstance(gate.stopped_by, ServiceUnavailable)
    assert gate.runs == 1
    assert runner.in_flight == 0
    for recipe in (known, refused):
        with pytest.raises(ServiceUnavailable):
            await runner.result(recipe, gate)


async def test_draining_does_not_wait_for_the_deaf_for_ever(artifacts: Artifacts) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def deaf(job: Job, writer: ArtifactWriter) -> Facts:
        entered.set()
        assert go_on.wait(WAIT_SECONDS)
        return {}

    runner = StageRunner(artifacts, 1)
    call = asyncio.create_task(runner.result(RECIPE, deaf))
    assert await asyncio.to_thread(entered.wait, WAIT_SECONDS)
    await runner.drain(0.01)
    assert runner.in_flight == 1
    go_on.set()
    assert not (await call).cached


def test_a_job_alone_needs_no_listener_and_stops_for_the_first_reason() -> None:
    job = Job()
    job.progress(1, 2, "frames")
    job.emit({})
    job.check()
    job.stop(Cancelled("first"))
    job.stop(ServiceUnavailable("second"))
    assert job.stopped
    with pytest.raises(Cancelled, match="first"):
        job.check()
