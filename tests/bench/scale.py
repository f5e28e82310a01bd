"""How well pose scales: the gateway's own calls to 1, 4, ... simulated GPU workers, each a process of its own.

    python -m tests.bench.scale [--workers 1,4,10,20,40] [--shards N] [--seconds S] [--json FILE] [--picture FILE]

Each worker computes one shard at a time, which takes it S seconds; efficiency is the time that a fair share of perfect
workers would take over the time that it took. One worker has the same share of shards as each of many. What grows with
the number of shards or workers in the calling process shows in its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from understudy.v1 import pose_pb2, types_pb2

from gateway.clients import StageCaller, StageClients
from gateway.config import GatewaySettings
from gateway.workers import count_workers, shares
from services.common.artifacts import Artifacts
from services.common.shards import FRAMES_PER_SHARD
from services.common.store.files import FileObjectStore
from tests.bench.report import machine
from tests.bench.sleeping import NAME, SECONDS_VARIABLE
from tests.support.clips import store_clip
from tests.support.ports import unused_port

_SIDE_PX = 64
_READY_SECONDS = 180.0
_MIB = 1 << 20


@dataclass(frozen=True)
class Level:
    """What so many workers did. memory_mib: resident, of the calling process, at the end."""

    workers: int
    shards: int
    seconds: float
    efficiency: float
    memory_mib: float


async def measure(workers: int, shards_each: int, seconds: float, folder: Path) -> Level:
    """Starts the workers, has them do their shards, and ends them."""
    shards = _shards(folder / "store", workers * shards_each)
    with _running(workers, seconds / FRAMES_PER_SHARD, folder) as address:
        settings = GatewaySettings(
            store_url=(folder / "store").as_uri(), database_url="sqlite://", pose_address=address, metrics_port=-1
        )
        clients = StageClients(settings)
        try:
            await _until_all_serve(clients, address)
            clients.turns.allow("pose", *shares(await count_workers(address)))
            call = StageCaller(settings, "bench", clients.metrics)

            async def one(shard: types_pb2.ArtifactRef) -> None:
                request = pose_pb2.EstimatePosesRequest(shard=shard)
                async with clients.turns.turn("pose", "bench") as most_waiting:
                    await call.unary(clients.pose.EstimatePoses, request, "pose", most_waiting=most_waiting)

            began = time.perf_counter()
            await asyncio.gather(*(one(shard) for shard in shards))
            took = time.perf_counter() - began
        finally:
            await clients.close()
    ideal = shards_each * seconds
    return Level(workers, len(shards), took, ideal / took, psutil.Process().memory_info().rss / _MIB)


def _shards(store: Path, count: int) -> list[types_pb2.ArtifactRef]:
    """Frame shards, all different."""
    artifacts = Artifacts(FileObjectStore(store), store.parent / "cache")
    shards = []
    for number in range(count):
        frame = np.full((_SIDE_PX, _SIDE_PX, 3), number % 256, np.uint8)
        frame[0, 0] = number // 256
        clip = artifacts.open(store_clip(artifacts, [frame] * FRAMES_PER_SHARD)).facts
        shards += [types_pb2.ArtifactRef(**each["artifact"]) for each in clip["shards"]]
    return shards


@contextlib.contextmanager
def _running(workers: int, seconds_a_frame: float, folder: Path) -> Iterator[str]:
    """Workers, and the address that stands for all of them."""
    ports = [unused_port() for _ in range(workers)]
    own = {
        "UNDERSTUDY_STORE_URL": (folder / "store").as_uri(), "UNDERSTUDY_METRICS_PORT": "-1",
        "UNDERSTUDY_CACHE_DIR": str(folder / "cache"), "UNDERSTUDY_POSE_BACKEND": NAME,
        "UNDERSTUDY_LOG_LEVEL": "warning", SECONDS_VARIABLE: str(seconds_a_frame),
    }  # fmt: skip
    processes = []
    try:
        for port in ports:
            environment = {**os.environ, **own, "UNDERSTUDY_LISTEN_PORT": str(port)}
            command = [sys.executable, "-m", "tests.bench.sleeping"]
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        yield "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


async def _until_all_serve(clients: StageClients, address: str) -> None:
    """Every worker by itself: the channel over all of them is ready with the first."""
    deadline = time.monotonic() + _READY_SECONDS
    for each in address.removeprefix("ipv4:").split(","):
        alone = StageClients(GatewaySettings(store_url="file:///", database_url="sqlite://", pose_address=each))
        try:
            await _until_serving(alone, deadline)
        finally:
            await alone.close()
    await _until_serving(clients, deadline)
    await asyncio.sleep(3.0)  # the channel connects to those that were not there when it first tried


async def _until_serving(clients: StageClients, deadline: float) -> None:
    while True:
        if (await clients.health())["pose"]:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all workers were ready within {_READY_SECONDS:.0f} s")
        await asyncio.sleep(0.2)


def table(levels: Sequence[Level]) -> str:
    """Markdown."""
    lines = ["workers | shards | seconds | efficiency | memory of the caller, MiB", "---|---|---|---|---"]
    lines += [
        f"{each.workers} | {each.shards} | {each.seconds:.1f} | {each.efficiency:.3f} | {each.memory_mib:.0f}"
        for each in levels
    ]
    return "\n".join(lines)


def picture(levels: Sequence[Level]) -> str:
    """SVG: efficiency over the number of workers."""
    left, top, width, height, most = 60, 40, 560, 260, max(each.workers for each in levels)
    points = [(left + width * each.workers / most, top + height * (1 - each.efficiency), each) for each in levels]
    parts = [f'<polyline fill="none" stroke="#5b8fc9" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)}"/>']
    for x, y, each in points:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#5b8fc9"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{each.efficiency:.2f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{each.workers}</text>')
    for value in (0.0, 0.5, 0.9, 1.0):
        y = top + height * (1 - value)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#ccc"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="680" height="340" font-family="sans-serif" font-size="12">'
        '<rect width="100%" height="100%" fill="white"/>'
        f'<text x="10" y="20" font-size="14">Efficiency of simulated pose workers, by their number</text>'
        f"{''.join(reversed(parts))}</svg>\n"
    )


def main(given: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description="How well pose scales.")
    parser.add_argument("--workers", default="1,4,10,20,40", help="their numbers, one level each")
    parser.add_argument("--shards", type=int, default=5, help="a worker's share (default 5)")
    parser.add_argument("--seconds", type=float, default=8.0, help="that a shard takes a worker (default 8)")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--picture", type=Path, help="where an SVG goes")
    arguments = parser.parse_args(given)
    levels = []
    for workers in map(int, arguments.workers.split(",")):
        with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
            level = asyncio.run(measure(workers, arguments.shards, arguments.seconds, Path(folder)))
        sys.stderr.write(f"{workers} workers: {level.seconds:.1f} s\n")
        levels.append(level)
    about = machine()
    sys.stdout.write(f"{about['processor']}, {about['cores']} cores\n\n{table(levels)}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "levels": list(map(asdict, levels))}, indent=1))
    if arguments.picture:
        arguments.picture.write_text(picture(levels))


if __name__ == "__main__":
    main()
