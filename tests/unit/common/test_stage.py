"""The stage runner: committed work is returned, equal work is shared."""

from __future__ import annotations

import asyncio
import threading

import pytest
import structlog

from services.common.artifacts import Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import DataCorrupted, NoPersonFound, WorkerBusy
from services.common.stage import Done, Emitted, Job, Progress, most_waiting
from tests.support.stages import RECIPE, WAIT_SECONDS, Gate, gather, runner_of, until


async def test_work_is_done_once_and_then_found(artifacts: Artifacts) -> None:
    gate = Gate()
    gate.released.set()
    async with runner_of(artifacts) as runner:
        first = await gather(runner, RECIPE, gate)
        second = await gather(runner, RECIPE, gate)
    assert [type(event) for event in first] == [Emitted, Progress, Done]
    assert first[:2] == [Emitted({"shard": 0}), Progress(1, 2, "frames", "half way")]
    made, found = first[-1], second[-1]
    assert isinstance(made, Done)
    assert isinstance(found, Done)
    assert (made.cached, found.cached) == (False, True)
    assert len(second) == 1
    assert gate.runs == 1
    assert found.artifact.facts == {"made": True}
    assert found.artifact.read_bytes("plate.png") == b"pixels"


async def test_work_committed_by_another_process_is_found(artifacts: Artifacts) -> None:
    artifacts.commit(artifacts.write(RECIPE), {"made": "elsewhere"})
    gate = Gate()
    async with runner_of(artifacts) as runner:
        done = await runner.result(RECIPE, gate)
    assert done.cached
    assert gate.runs == 0


async def test_equal_calls_share_one_computation(artifacts: Artifacts) -> None:
    gate = Gate()
    async with runner_of(artifacts, slots=4) as runner:
        callers = [asyncio.create_task(gather(runner, RECIPE, gate)) for _ in range(32)]
        await gate.reached()
        late = asyncio.create_task(gather(runner, RECIPE, gate))
        await until(lambda: len(runner._flights[RECIPE.key].listeners) == 33)
        gate.released.set()
        told = await asyncio.gather(*callers, late)
    assert gate.runs == 1
    for events in told:  # a late caller is told what was finished before it came
        assert events[0] == Emitted({"shard": 0})
        assert isinstance(events[-1], Done)
        assert events[-1].artifact.facts == {"made": True}


async def test_equal_calls_at_any_moment_compute_once(artifacts: Artifacts) -> None:
    lock, runs = threading.Lock(), 0

    def quick(job: Job, writer: ArtifactWriter) -> Facts:
        nonlocal runs
        with lock:
            runs += 1
        return {}

    async with runner_of(artifacts, slots=4) as runner:
        for version in range(20):
            recipe = Recipe("plate", "segmentation", version)
            await asyncio.gather(*(runner.result(recipe, quick) for _ in range(8)))
    assert runs == 20


async def test_unequal_calls_do_not_share(artifacts: Artifacts) -> None:
    recipes = [Recipe("plate", "segmentation", version) for version in (1, 2)]
    gates = [Gate({"version": 1}), Gate({"version": 2})]
    async with runner_of(artifacts, slots=2) as runner:
        calls = [asyncio.create_task(runner.result(*pair)) for pair in zip(recipes, gates, strict=True)]
        for gate in gates:
            await gate.reached()
            gate.released.set()
        facts = [(await call).artifact.facts for call in calls]
    assert facts == [{"version": 1}, {"version": 2}]


async def test_slots_bound_how_much_runs_at_once(artifacts: Artifacts) -> None:
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(2)

    def compute(job: Job, writer: ArtifactWriter) -> Facts:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(WAIT_SECONDS)  # both slots are used
        with lock:
            running -= 1
        return {}

    async with runner_of(artifacts, slots=2) as runner:
        await asyncio.gather(*(runner.result(Recipe("plate", "s", version), compute) for version in range(8)))
    assert most == 2


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (NoPersonFound("in 412 of 412 frames", frames=412), NoPersonFound),
        (ZeroDivisionError("a fault"), ZeroDivisionError),
        (StopIteration(), RuntimeError),  # a future cannot carry StopIteration
    ],
)
async def test_an_error_reaches_every_caller_and_commits_nothing(
    artifacts: Artifacts, raised: Exception, expected: type[Exception]
) -> None:
    gate, again = Gate(fail=raised), Gate()
    async with runner_of(artifacts) as runner:
        callers = [asyncio.create_task(runner.result(RECIPE, gate)) for _ in range(3)]
        await gate.reached()
        await until(lambda: len(runner._flights[RECIPE.key].listeners) == 3)
        gate.released.set()
        for outcome in await asyncio.gather(*callers, return_exceptions=True):
            assert type(outcome) is expected
        assert not artifacts.exists(RECIPE.ref)
        again.released.set()
        assert not (await runner.result(RECIPE, again)).cached
    assert (gate.runs, again.runs) == (1, 1)


async def test_a_damaged_result_is_said_not_returned(artifacts: Artifacts) -> None:
    artifacts.store.put(RECIPE.ref.manifest_key, b"{")
    async with runner_of(artifacts) as runner:
        with pytest.raises(DataCorrupted):
            await runner.result(RECIPE, Gate())


async def test_the_computation_logs_with_its_callers_context(artifacts: Artifacts) -> None:
    seen: dict[str, object] = {}

    def compute(job: Job, writer: ArtifactWriter) -> Facts:
        seen.update(structlog.contextvars.get_contextvars())
        return {}

    async with runner_of(artifacts) as runner:
        with structlog.contextvars.bound_contextvars(transfer_id="t-1"):
            await runner.result(RECIPE, compute)
    assert seen == {"transfer_id": "t-1"}


async def test_a_call_that_would_wait_too_long_is_refused_and_equal_work_is_shared_all_the_same(
    artifacts: Artifacts,
) -> None:
    first, second, third = (Recipe("plate", "s", version) for version in range(3))
    gate = Gate()
    async with runner_of(artifacts) as runner:
        calls = [asyncio.create_task(runner.result(recipe, gate)) for recipe in (first, second)]
        await until(lambda: runner.in_flight == 2)  # one at work, one waits
        most_waiting.set(1)
        with pytest.raises(WorkerBusy, match="another"):
            await runner.result(third, gate)
        calls.append(asyncio.create_task(runner.result(first, gate)))
        most_waiting.set(2)
        calls.append(asyncio.create_task(runner.result(third, gate)))
        await until(lambda: runner.in_flight == 3)
        gate.released.set()
        await asyncio.gather(*calls)
    assert gate.runs == 3
