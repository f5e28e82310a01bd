"""Running pure stages: committed work is returned, equal work is shared, abandoned work stops.

`StageRunner.run` is the only place where stage code meets concurrency. Worker code is plain synchronous Python
that gets a `Job` and an `ArtifactWriter` and returns the artifact's facts.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.common.artifacts import Artifact, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import Cancelled, ServiceUnavailable, UnderstudyError, WorkerBusy
from services.common.observer import Ended, StageObserver


@dataclass(frozen=True)
class Progress:
    """How far a computation has come: `done` of `total` (0 while unknown) `unit`."""

    done: int
    total: int
    unit: str
    message: str = ""


@dataclass(frozen=True)
class Emitted:
    """Something that the computation finished on the way and that callers may use at once."""

    facts: Facts


@dataclass(frozen=True)
class Done:
    """The committed artifact; `cached` when it was there before the call."""

    artifact: Artifact
    cached: bool


Event = Progress | Emitted | Done
Compute = Callable[["Job", ArtifactWriter], Facts]


class Job:
    """What a running computation may say and must ask. Safe to use from several threads."""

    def __init__(
        self,
        notify: Callable[[Progress | Emitted], None] = lambda _event: None,
        worked: Callable[[str, int], None] = lambda _unit, _more: None,
    ) -> None:
        self._notify = notify
        self._worked = worked
        self._stop: UnderstudyError | None = None
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}

    def progress(self, done: int, total: int, unit: str, message: str = "") -> None:
        self.count(done, unit)
        self._notify(Progress(done, total, unit, message))

    def count(self, done: int, unit: str) -> None:
        """Like `progress`, for those who count the work alone."""
        with self._lock:
            more = done - self._done.get(unit, 0)
            if more > 0:
                self._done[unit] = done
        if more > 0:
            self._worked(unit, more)

    def goes_on(self, done: int, unit: str) -> None:
        """Says that an earlier run did `done` already, which then does not count as work of this one."""
        with self._lock:
            self._done[unit] = done

    def emit(self, facts: Facts) -> None:
        self._notify(Emitted(facts))

    def check(self) -> None:
        """Raises what stopped the job: Cancelled when nobody waits any more, ServiceUnavailable on shutdown.

        Call it at least once a frame or iteration, and checkpoint before letting it pass.
        """
        if self._stop is not None:
            raise self._stop

    def stop(self, reason: UnderstudyError) -> None:
        with self._lock:
            self._stop = self._stop or reason

    @property
    def stopped(self) -> bool:
        return self._stop is not None


@dataclass
class _Flight:
    """One computation and everybody who waits for it."""

    job: Job
    listeners: list[asyncio.Queue[Event | BaseException]] = field(default_factory=list)
    emitted: list[Emitted] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    began: float | None = None


most_waiting: contextvars.ContextVar[int | None] = contextvars.ContextVar("understudy_most_waiting", default=None)
"""How many computations may wait before this call's own; where more do, it raises WorkerBusy. None: any number."""


class StageRunner:
    """Runs computations in at most `slots` threads. One a process; use it on one event loop.

    observer: hears what the computations do.
    """

    def __init__(self, artifacts: Artifacts, slots: int = 1) -> None:
        self.artifacts = artifacts
        self._slots = slots
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="stage")
        self._lookups = ThreadPoolExecutor(4, thread_name_prefix="lookup")
        self._flights: dict[str, _Flight] = {}
        self._draining = False
        self._drained = False
        self.observer = StageObserver()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    async def run(self, recipe: Recipe, compute: Compute) -> AsyncGenerator[Event, None]:
        """Yields Progress and Emitted while `compute` works, and ends with one Done.

        A committed artifact is returned at once. Equal recipes at the same time share one computation. When the
        last caller goes away (cancels, or stops iterating), the job is stopped. Raises what `compute` raises, and
        WorkerBusy (see `most_waiting`).
        """
        self._refuse_when_busy(recipe)
        found = await self._look(recipe)
        if found is not None:
            self.observer.found(recipe.kind)
            yield Done(found, cached=True)
            return
        self._refuse_when_busy(recipe)  # again: others may have come while it looked
        queue: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        flight = self._join(recipe, compute, queue)
        try:
            while True:
                event = await queue.get()
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Done):
                    yield event
                    return
                yield event
        finally:
            flight.listeners.remove(queue)
            if not flight.listeners and not flight.ended.is_set():
                flight.job.stop(Cancelled("nobody waits for this any more"))

    async def result(self, recipe: Recipe, compute: Compute) -> Done:
        """The end of `run`, for calls that do not stream."""
        async with contextlib.aclosing(self.run(recipe, compute)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event
        raise AssertionError("run ends with Done or raises")

    async def drain(self, grace_seconds: float) -> None:
        """Stops taking work, tells running jobs to checkpoint and stop, and waits for them."""
        self._draining = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.job.stop(_shutting_down())
        waits = [asyncio.ensure_future(flight.ended.wait()) for flight in flights]
        if waits:
            await asyncio.wait(waits, timeout=grace_seconds)
        for wait in waits:
            wait.cancel()
        self._drained = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._lookups.shutdown(wait=False, cancel_futures=True)

    def _refuse_when_busy(self, recipe: Recipe) -> None:
        most = most_waiting.get()
        if most is not None and recipe.key not in self._flights and len(self._flights) >= self._slots + most:
            raise WorkerBusy("this worker has enough to do; call another one")

    async def _look(self, recipe: Recipe) -> Artifact | None:
        """The committed artifact, or None when the caller may join or begin its computation now."""
        loop = asyncio.get_running_loop()
        while True:
            if self._drained:
                raise _shutting_down()
            found = await loop.run_in_executor(self._lookups, self.artifacts.find, recipe.ref)
            if found is not None:
                return found
            if self._draining:
                raise _shutting_down()
            flight = self._flights.get(recipe.key)
            if flight is None or not flight.job.stopped:
                return None
            await flight.ended.wait()  # an abandoned computation winds down: then begin anew

    def _join(self, recipe: Recipe, compute: Compute, queue: asyncio.Queue[Event | BaseException]) -> _Flight:
        flight = self._flights.get(recipe.key) or self._start(recipe, compute)
        for earlier in flight.emitted:
            queue.put_nowait(earlier)
        flight.listeners.append(queue)
        return flight

    def _start(self, recipe: Recipe, compute: Compute) -> _Flight:
        loop = asyncio.get_running_loop()
        observer = self.observer

        def notify(event: Progress | Emitted) -> None:
            if isinstance(event, Emitted):
                observer.emitted(event.facts)
            loop.call_soon_threadsafe(self._tell, flight, event)

        flight = _Flight(Job(notify, lambda unit, more: observer.worked(recipe.kind, unit, more)))
        self._flights[recipe.key] = flight
        context = contextvars.copy_context()  # the thread logs with the caller's transfer, stage and shard
        observer.waits(recipe.kind)

        def work() -> Done:
            flight.began = time.monotonic()
            observer.begins(recipe.kind)
            return self._compute(recipe, compute, flight.job)

        def finish(outcome: asyncio.Future[Done]) -> None:
            del self._flights[recipe.key]
            error = _shutting_down() if outcome.cancelled() else outcome.exception()
            observer.ends(recipe.kind, _ended(flight, error or outcome.result()))
            self._tell(flight, error or outcome.result())
            flight.ended.set()

        future = asyncio.ensure_future(loop.run_in_executor(self._pool, context.run, work))
        future.add_done_callback(finish)
        return flight

    def _compute(self, recipe: Recipe, compute: Compute, job: Job) -> Done:
        job.check()
        # another computation, here or elsewhere, may have committed since the caller looked
        found = self.artifacts.find(recipe.ref)
        if found is not None:
            return Done(found, cached=True)
        writer = self.artifacts.write(recipe)
        try:
            facts = compute(job, writer)
        except StopIteration as error:  # a future cannot carry it: every caller would wait for ever
            raise RuntimeError("the computation let StopIteration escape") from error
        job.count(int(facts.get("frame_count", 0)), "frames")
        return Done(self.artifacts.commit(writer, facts), cached=False)

    def _tell(self, flight: _Flight, event: Event | BaseException) -> None:
        if isinstance(event, Emitted):
            flight.emitted.append(event)
        for queue in flight.listeners:
            queue.put_nowait(event)


def _ended(flight: _Flight, result: Done | BaseException) -> Ended:
    if isinstance(result, Done):
        outcome = "found" if result.cached else "computed"
    else:
        outcome = "cancelled" if flight.job.stopped or isinstance(result, Cancelled) else "failed"
    seconds = time.monotonic() - flight.began if flight.began is not None else 0.0
    return Ended(outcome, seconds, flight.began is not None)


def _shutting_down() -> ServiceUnavailable:
    return ServiceUnavailable("this worker is shutting down; call another one")
