"""The training service over its real protocol: started on a free port, called by a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from understudy.v1 import trainer_pb2, trainer_pb2_grpc

from services.common import rpc
from services.common.artifacts import Artifacts
from services.common.errors import ArtifactNotFound, ClipTooShort, InvalidOption
from services.common.puppet import open_references
from services.common.recipe import Recipe
from services.common.server import Service, open_runner, start
from services.trainer import presets
from services.trainer.config import TrainerSettings
from services.trainer.examiner import Examiner
from services.trainer.servicer import TrainerServicer
from services.trainer.study import StudyRefs
from services.trainer.worker import Trainer
from tests.support.studies import store_study
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import tiny_anchor, tiny_config

ITERATIONS = 6


@dataclass(frozen=True)
class Running:
    stub: trainer_pb2_grpc.TrainerServiceAsyncStub
    artifacts: Artifacts
    refs: StudyRefs

    def request(self, **options: Any) -> trainer_pb2.TrainRequest:
        return trainer_pb2.TrainRequest(
            clip=rpc.from_ref(self.refs.clip),
            track=rpc.from_ref(self.refs.track),
            camera=rpc.from_ref(self.refs.camera),
            matte_shards=[rpc.from_ref(ref) for ref in self.refs.matte_shards],
            plate=rpc.from_ref(self.refs.plate),
            **{"iterations": ITERATIONS, **options},
        )

    async def train(self, **options: Any) -> list[trainer_pb2.TrainResponse]:
        return [update async for update in self.stub.Train(self.request(**options))]


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setitem(presets._PRESETS, "preview", tiny_config(ITERATIONS))
    monkeypatch.setitem(presets._ANCHORS, "preview", tiny_anchor(ITERATIONS))
    settings = TrainerSettings(
        store_url=f"file://{tmp_path}/store", cache_dir=tmp_path / "cache", metrics_port=-1,
        trainer_device="cpu", trainer_checkpoint_seconds=0.5,
    )  # fmt: skip
    runner = open_runner(settings)
    worker = Trainer.from_settings(runner.artifacts, settings)
    servicer = TrainerServicer(runner, worker, Examiner(runner.artifacts))
    service = Service(
        name="trainer",
        grpc_name="understudy.v1.TrainerService",
        register=lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(servicer, server),
        load=worker.load,
        runner=runner,
    )
    server = await start(service, settings)
    refs = store_study(runner.artifacts, make_study(30))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Running(trainer_pb2_grpc.TrainerServiceStub(channel), runner.artifacts, refs)
    await server.stop(20)


async def test_a_training_reports_and_ends_with_a_performer(running: Running) -> None:
    updates = await running.train()
    kinds = [update.WhichOneof("update") for update in updates]
    assert kinds[-1] == "performer"
    assert kinds.count("performer") == 1
    assert "sample" in kinds
    progress = [update.progress for update in updates if update.WhichOneof("update") == "progress"]
    assert {each.total for each in progress} == {ITERATIONS}
    assert progress[-1].done == ITERATIONS
    samples = [update.sample for update in updates if update.WhichOneof("update") == "sample"]
    assert {"colour", "alpha", "structure"} <= set(samples[0].losses)

    performer = updates[-1].performer
    assert (performer.preset, performer.family, performer.resolution) == ("preview", "composite", 64)
    assert (performer.training_frames, performer.heldout_frames) == (24, 6)
    assert (performer.width, performer.height) == (160, 120)
    assert {"person_ssim", "person_psnr_db", "sharpness", "flicker"} <= set(performer.metrics)
    assert set(performer.metrics) == set(performer.nearest_metrics) == set(performer.draft_metrics)
    artifact = running.artifacts.open(rpc.to_ref(performer.artifact))
    assert artifact.names() == [
        "config.json", "generator.onnx", "generator.safetensors", "metrics.json", "plate.png", "preview.jpg",
        "references.frames.tar", "references.mattes.tar", "references.safetensors",
    ]  # fmt: skip
    assert artifact.read_json("metrics.json")["generated"] == dict(performer.metrics)
    assert running.artifacts.scratch(performer.artifact.key).list() == []  # checkpoints are gone

    again = await running.train()
    assert [update.WhichOneof("update") for update in again] == ["performer"]
    assert again[0].performer == performer


async def test_a_draft_needs_no_training(running: Running) -> None:
    updates = await running.train(preset="draft")
    performer = updates[-1].performer
    assert (performer.preset, performer.family, performer.iterations) == ("draft", "draft", 0)
    assert (performer.training_frames, performer.heldout_frames) == (24, 6)
    assert performer.metrics["person_ssim"] > 0.3
    artifact = running.artifacts.open(rpc.to_ref(performer.artifact))
    assert artifact.names() == [
        "config.json", "metrics.json", "plate.png", "preview.jpg",
        "references.frames.tar", "references.mattes.tar", "references.safetensors",
    ]  # fmt: skip
    assert open_references(artifact).pictures.shape == (24, 256, 256, 4)
    again = await running.train(preset="draft", iterations=7)  # there is nothing to iterate
    assert [update.WhichOneof("update") for update in again] == ["performer"]


async def test_a_draft_of_a_single_frame(running: Running) -> None:
    study = make_study(30)
    study.track.valid[:] = np.arange(30) == 11
    refs = store_study(running.artifacts, study, "still")
    updates = await Running(running.stub, running.artifacts, refs).train(preset="draft")
    performer = updates[-1].performer
    assert (performer.training_frames, performer.heldout_frames, dict(performer.metrics)) == (1, 0, {})
    assert any("only 1 frames" in warning for warning in performer.warnings)


async def test_a_caller_that_goes_away_leaves_a_checkpoint_and_the_same_call_goes_on(running: Running) -> None:
    call = running.stub.Train(running.request(iterations=120))
    async for update in call:
        if update.WhichOneof("update") == "progress" and update.progress.done >= 2:
            break
    call.cancel()
    scratch: list[str] = []
    async with asyncio.timeout(30):
        while not any(name.endswith(".json") for name in scratch):
            await asyncio.sleep(0.1)
            infos = running.artifacts.store.list("scratch/")
            scratch = [info.key for info in infos if "checkpoint" in info.key]
    updates = await running.train(iterations=120)
    progress = [update.progress for update in updates if update.WhichOneof("update") == "progress"]
    counted = [each.done for each in progress if "resumed" in each.message]
    assert counted
    assert min(counted) > 2
    assert updates[-1].performer.iterations == 120


async def test_mistakes_come_back_as_themselves(running: Running) -> None:
    async def error_of(**options: Any) -> Exception:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await running.train(**options)
        return rpc.from_rpc_error(error.value)

    assert isinstance(await error_of(preset="best"), InvalidOption)
    assert isinstance(await error_of(family="diffusion"), InvalidOption)
    assert isinstance(await error_of(iterations=-1), InvalidOption)
    assert isinstance(await error_of(preset="draft", family="composite"), InvalidOption)
    missing = StudyRefs(**{**vars(running.refs), "plate": type(running.refs.plate)("plate", "0" * 64)})
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await Running(running.stub, running.artifacts, missing).train()
    assert isinstance(rpc.from_rpc_error(error.value), ArtifactNotFound)


async def test_a_clip_with_too_few_poses_is_refused_with_numbers(running: Running) -> None:
    study = make_study(30)
    study.track.valid[:] = np.arange(30) < 11
    refs = store_study(running.artifacts, study, "short")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await Running(running.stub, running.artifacts, refs).train()
    refused = rpc.from_rpc_error(error.value)
    assert isinstance(refused, ClipTooShort)
    assert "at least 24" in refused.message
    assert refused.metadata["valid"] == "11"


async def test_another_training_begins_with_a_performers_weights(running: Running) -> None:
    first = (await running.train())[-1].performer
    further = (await running.train(iterations=1, initial_performer=first.artifact))[-1].performer
    anew = (await running.train(iterations=1))[-1].performer
    assert len({first.artifact.key, further.artifact.key, anew.artifact.key}) == 3

    def weights(performer: trainer_pb2.Performer) -> dict[str, Any]:
        return running.artifacts.open(rpc.to_ref(performer.artifact)).read_arrays("generator.safetensors")

    def distance(one: trainer_pb2.Performer) -> float:
        others = weights(one)
        return float(sum(np.abs(value - others[name]).sum() for name, value in weights(first).items()))

    assert distance(further) < 0.5 * distance(anew)

    older = running.artifacts.write(Recipe("performer", "training", 1))
    older.put_json("config.json", running.artifacts.open(rpc.to_ref(first.artifact)).read_json("config.json"))
    older.put_arrays("generator.safetensors", weights(first) | {"stem.weight": weights(first)["stem.weight"][:, 1:]})
    as_older = rpc.from_ref(running.artifacts.commit(older, {}).ref)
    for options, why in (
        ({"family": "pix2pixhd", "initial_performer": first.artifact}, "another network"),
        ({"initial_performer": as_older}, "made by another version"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await running.train(**options)
        refused = rpc.from_rpc_error(error.value)
        assert isinstance(refused, InvalidOption)
        assert why in refused.message


async def test_the_anchor_is_trained_measured_and_exported(running: Running) -> None:
    performer = (await running.train(family="pix2pixhd"))[-1].performer
    assert (performer.preset, performer.family) == ("preview", "pix2pixhd")
    assert {"person_ssim", "sharpness", "flicker"} <= set(performer.metrics)
    config = running.artifacts.open(rpc.to_ref(performer.artifact)).read_json("config.json")
    assert config["family"] == "pix2pixhd"
    assert len(config["centre"]) == 2
