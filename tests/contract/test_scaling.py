"""Scaling as the gateway lives it: workers come and go behind one name while calls go on, and none fails."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from understudy.v1 import pose_pb2

from gateway.clients import StageCaller, StageClients
from gateway.config import GatewaySettings
from tests.support.names import Names, naming

FOUND_WITHIN_SECONDS = 30.0
MANY_SLOTS = 32  # more than calls that may be held at one worker before the other gets one


@dataclass(frozen=True)
class Worker:
    """A pose service of its own process and its own address."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def noted(self, line: str) -> int:
        return self.log.read_text().splitlines().count(line) if self.log.exists() else 0


@contextmanager
def worker(folder: Path, repository: Path, number: int, port: int, slots: int = MANY_SLOTS) -> Iterator[Worker]:
    address, log = f"127.0.0.{10 + number}", folder / f"log{number}"
    environment = {
        **os.environ,
        "UNDERSTUDY_STORE_URL": (folder / "store").as_uri(),
        "UNDERSTUDY_METRICS_PORT": "-1",
        "UNDERSTUDY_LISTEN_HOST": address,
        "UNDERSTUDY_LISTEN_PORT": str(port),
        "UNDERSTUDY_SLOTS": str(slots),
        "SAMPLE_LOG": str(log),
    }
    with (folder / f"stderr{number}").open("wb") as stderr:
        command = [sys.executable, "-m", "tests.support.sample_service"]
        process = subprocess.Popen(command, cwd=repository, env=environment, stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdout is not None
    assert process.stdout.readline()
    try:
        yield Worker(address, process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def names() -> Iterator[Names]:
    with naming() as server:
        yield server


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.10", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def clients(names: Names, port: int, tmp_path: Path) -> AsyncIterator[tuple[StageClients, StageCaller]]:
    settings = GatewaySettings(
        store_url="memory://", database_url=f"sqlite:///{tmp_path / 'gateway.db'}", pose_address=names.target(port)
    )
    opened = StageClients(settings)
    yield opened, StageCaller(settings, "scaling", opened.metrics)
    await opened.close()


async def eventually(true: Callable[[], bool], seconds: float) -> float:
    """How long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "did not happen in time"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def test_a_worker_that_comes_is_used_and_one_that_goes_hands_its_shard_back(
    names: Names, port: int, clients: tuple[StageClients, StageCaller], tmp_path: Path, repository: Path
) -> None:
    stubs, caller = clients
    numbers = itertools.count()
    stop = asyncio.Event()

    async def go_on() -> None:
        while not stop.is_set():
            request = pose_pb2.EstimatePosesRequest(backend=f"work{next(numbers)}")
            await caller.unary(stubs.pose.EstimatePoses, request, "pose")
            await asyncio.sleep(0.02)

    with worker(tmp_path, repository, 1, port) as first:
        names.addresses = [first.address]
        calls = [asyncio.create_task(go_on()) for _ in range(3)]
        await eventually(lambda: first.noted("work") > 10, 30)
        with worker(tmp_path, repository, 2, port) as second:
            names.addresses = [first.address, second.address]
            await eventually(lambda: second.noted("work") > 0, FOUND_WITHIN_SECONDS)
            assert first.noted("work") > 10

            # a shard at the first worker, which is then taken away
            held = []
            while not first.noted("began"):
                request = pose_pb2.EstimatePosesRequest(backend=f"wait{next(numbers)}")
                held.append(asyncio.create_task(caller.unary(stubs.pose.EstimatePoses, request, "pose")))
                await asyncio.sleep(0.5)
            before, done = second.noted("began"), second.noted("work")
            names.addresses = [second.address]
            first.process.send_signal(signal.SIGTERM)
            await eventually(lambda: second.noted("began") > before, FOUND_WITHIN_SECONDS)
            assert first.noted("stopped by ServiceUnavailable") == first.noted("began")
            await eventually(lambda: first.process.poll() is not None, 30)
            await eventually(lambda: second.noted("work") > done, 30)
            stop.set()
            await asyncio.gather(*calls)  # none failed
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)


async def test_calls_are_spread_over_the_workers(
    names: Names, port: int, clients: tuple[StageClients, StageCaller], tmp_path: Path, repository: Path
) -> None:
    stubs, caller = clients
    with worker(tmp_path, repository, 1, port) as first, worker(tmp_path, repository, 2, port) as second:
        names.addresses = [first.address, second.address]
        for number in range(5):  # both are connected once both have answered
            await caller.unary(stubs.pose.EstimatePoses, pose_pb2.EstimatePosesRequest(backend=f"warm{number}"), "pose")
            await asyncio.sleep(0.2)
        warm = first.noted("work"), second.noted("work")
        for number in range(40):
            await caller.unary(stubs.pose.EstimatePoses, pose_pb2.EstimatePosesRequest(backend=f"work{number}"), "pose")
        shares = first.noted("work") - warm[0], second.noted("work") - warm[1]
    assert sum(shares) == 40
    assert min(shares) >= 15, shares


async def test_no_shard_waits_at_a_busy_worker_while_another_is_free(
    names: Names, port: int, clients: tuple[StageClients, StageCaller], tmp_path: Path, repository: Path
) -> None:
    stubs, caller = clients

    async def estimate(backend: str, most_waiting: int | None) -> None:
        request = pose_pb2.EstimatePosesRequest(backend=backend)
        await caller.unary(stubs.pose.EstimatePoses, request, "pose", most_waiting=most_waiting)

    with worker(tmp_path, repository, 1, port, slots=1) as first, worker(tmp_path, repository, 2, port) as second:
        names.addresses = [first.address, second.address]
        for number in range(5):  # both are connected once both have answered
            await estimate(f"warm{number}", None)
            await asyncio.sleep(0.2)
        assert first.noted("work") > 0
        assert second.noted("work") > 0
        held: list[asyncio.Task[None]] = []
        while not first.noted("began"):  # its only slot is taken
            held.append(asyncio.create_task(estimate(f"wait{len(held)}", None)))
            await asyncio.sleep(0.5)
        before = second.noted("work")
        async with asyncio.timeout(20):
            await asyncio.gather(*(estimate(f"work{number}", 0) for number in range(20)))
        assert second.noted("work") - before == 20
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


async def test_where_every_worker_is_busy_a_shard_waits_at_one_of_them_at_last(
    names: Names, port: int, clients: tuple[StageClients, StageCaller], tmp_path: Path, repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("gateway.clients._MOST_REFUSALS", 3)
    stubs, caller = clients
    with worker(tmp_path, repository, 1, port, slots=1) as only:
        names.addresses = [only.address]
        waits = pose_pb2.EstimatePosesRequest(backend="wait")
        held = asyncio.create_task(caller.unary(stubs.pose.EstimatePoses, waits, "pose"))
        await eventually(lambda: only.noted("began") == 1, 30)
        works = pose_pb2.EstimatePosesRequest(backend="work")
        last = asyncio.create_task(caller.unary(stubs.pose.EstimatePoses, works, "pose", most_waiting=0))
        await asyncio.sleep(1.5)  # it is refused three times
        assert not last.done()
        held.cancel()
        await asyncio.wait([last], timeout=10)
        assert last.done()
        await last
