"""The renderer as a process of its own, told by its setting which runtime to render with."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import renderer_pb2, renderer_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.frames import read_shard
from services.common.nn.generator import Generator
from services.common.nn.pix2pixhd import Pix2PixHD
from services.common.shards import FRAMES_NAME
from services.common.store import FileObjectStore
from services.trainer.export import export_onnx
from tests.support.stages import until
from tests.support.studies import store_draft, store_performer, store_study, store_track
from tests.unit.common.nn.test_pix2pixhd import CONFIG
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import TINY

FRAMES = 6
# Mean differences of 255 that OpenVINO's bfloat16 explains, where the processor has it. The anchor, untrained, goes
# on from its own; a draft has no network.
TOLERANCES = {"composite": 0.5, "pix2pixhd": 2.5, "draft": 0.0}
SERVING = health_pb2.HealthCheckResponse.SERVING
Pictures = dict[str, dict[int, Any]]


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "stderr").read_text().splitlines()]


@asynccontextmanager
async def _served(folder: Path, repository: Path, **settings: str) -> AsyncIterator[grpc.aio.Channel]:
    environment = {
        **os.environ,
        "UNDERSTUDY_STORE_URL": (folder / "store").as_uri(),
        "UNDERSTUDY_CACHE_DIR": str(folder / "cache"),
        "UNDERSTUDY_METRICS_PORT": "-1",
        "UNDERSTUDY_RENDERER_THREADS": "2",
        **settings,
    }
    with (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.renderer", cwd=repository, env=environment, stdout=PIPE, stderr=stderr
        )
    assert process.stdout is not None
    try:
        port = json.loads(await process.stdout.readline())["port"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        process.terminate()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # or its pipe is collected open


async def _ready(channel: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(50):
        async for answer in health.Watch(health_pb2.HealthCheckRequest()):
            if answer.status == SERVING:
                return


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ArtifactRef]]:
    """A folder with a store, and in it a performer of each family, and the driven track, by name."""
    folder = tmp_path_factory.mktemp("performers")
    artifacts, study = Artifacts(FileObjectStore(folder / "store"), folder / "cache"), make_study(30)
    torch.manual_seed(1)
    composite = Generator(TINY)
    assert composite.last.bias is not None
    torch.nn.init.constant_(composite.last.bias, 2.0)  # paints the whole window
    models = {"composite": export_onnx(composite, 64), "pix2pixhd": export_onnx(Pix2PixHD(CONFIG), 64)}
    return folder, {
        "composite": store_performer(artifacts, study, TINY, models["composite"], 64),
        "pix2pixhd": store_performer(artifacts, study, CONFIG, models["pix2pixhd"], 64, "pix2pixhd"),
        "draft": store_draft(artifacts, store_study(artifacts, study)),
        "driven": store_track(artifacts, study.track, "driven_track", "driven"),
    }


async def _rendered(
    runtime: str, store: tuple[Path, dict[str, ArtifactRef]], folder: Path, repository: Path
) -> tuple[Pictures, dict[str, ArtifactRef]]:
    """Frames by family, and the shards they are in; from a store of its own."""
    shutil.copytree(store[0], folder)
    artifacts = Artifacts(FileObjectStore(folder / "store"), folder / "cache")
    pictures, shards = {}, {}
    async with _served(folder, repository, UNDERSTUDY_RENDERER_RUNTIME=runtime) as channel:
        await _ready(channel)
        for family in ("composite", "pix2pixhd", "draft"):
            request = renderer_pb2.RenderFramesRequest(
                performer=rpc.from_ref(store[1][family]), driven_track=rpc.from_ref(store[1]["driven"]),
                first_frame=0, frame_count=FRAMES,
            )  # fmt: skip
            response = await renderer_pb2_grpc.RendererServiceStub(channel).RenderFrames(request)
            shards[family] = rpc.to_ref(response.artifact)
            pictures[family] = dict(read_shard(artifacts.open(shards[family]).local_path(FRAMES_NAME)))
    return pictures, shards


async def test_every_runtime_renders_every_family_alike(
    store: tuple[Path, dict[str, ArtifactRef]], tmp_path: Path, repository: Path
) -> None:
    found = {name: await _rendered(name, store, tmp_path / name, repository) for name in ("openvino", "onnxruntime")}
    for name in found:
        (line,) = [line for line in _log(tmp_path / name) if "runtime" in line]
        assert line["runtime"] == name
        assert line["provider"]
    (plain, shards), (other, other_shards) = found["openvino"], found["onnxruntime"]
    assert shards == other_shards  # the same call names the same artifact, whoever computes it
    for family, pictures in plain.items():
        assert sorted(pictures) == sorted(other[family]) == list(range(FRAMES))
        differences = [np.abs(pictures[t].astype(int) - other[family][t]).mean() for t in pictures]
        assert max(differences) <= TOLERANCES[family], family


async def test_a_runtime_that_is_not_installed_is_missed_at_the_start(tmp_path: Path, repository: Path) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "onnxruntime.py").write_text("raise ModuleNotFoundError(\"No module named 'onnxruntime'\")\n")
    settings = {"UNDERSTUDY_RENDERER_RUNTIME": "onnxruntime", "PYTHONPATH": f"{repository}:{absent}"}
    async with _served(tmp_path, repository, **settings) as channel:
        await until(lambda: any(line["event"] == "not ready" for line in _log(tmp_path)))
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status != SERVING
    (line,) = [line for line in _log(tmp_path) if line["event"] == "not ready"]
    assert line["reason"] == "SERVICE_UNAVAILABLE"
    assert "No module named 'onnxruntime'" in line["error"]
    assert "requirements/renderer-gpu.txt" in line["error"]
