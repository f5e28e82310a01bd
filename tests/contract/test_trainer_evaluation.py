"""Judging a performer over the trainer's real protocol: frames held out, and what is measured of performances."""

from __future__ import annotations

import io
from typing import Any

import av
import grpc
import numpy as np
import pytest
from understudy.v1 import trainer_pb2

from services.common import rpc
from services.common.artifacts import ArtifactRef, Recipe
from services.common.errors import ClipTooShort, InvalidOption, by_reason
from services.common.frames import read_shard, write_frames
from services.common.shards import FRAMES_NAME, MATTES_NAME
from services.common.tracks import PoseTrack
from tests.contract.test_trainer import Running, running  # noqa: F401 - a fixture
from tests.support.studies import store_study
from tests.unit.trainer.figure import make_study


async def performer_of(running: Running, preset: str) -> Any:  # noqa: F811
    updates = await running.train(preset=preset, iterations=0 if preset == "draft" else 6)
    return updates[-1].performer.artifact


async def hold_out(running: Running, performer: Any) -> trainer_pb2.HoldOutResponse:  # noqa: F811
    study = running.request()
    return await running.stub.HoldOut(
        trainer_pb2.HoldOutRequest(
            performer=performer, clip=study.clip, track=study.track, camera=study.camera,
            matte_shards=study.matte_shards, plate=study.plate,
        )
    )  # fmt: skip


async def refusal(call: Any) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return rpc.from_rpc_error(error.value)


def store_poses(running: Running, name: str, keypoints: Any) -> Any:  # noqa: F811
    count = len(keypoints)
    writer = running.artifacts.write(Recipe("result_poses", "test", 1, options={"name": name}))
    arrays = {"frame_index": np.arange(count), "offsets": np.arange(count + 1), "keypoints": keypoints}
    writer.put_arrays("poses.safetensors", arrays)
    return rpc.from_ref(running.artifacts.commit(writer, {}).ref)


def store_rendered(running: Running, pictures: dict[int, Any]) -> Any:  # noqa: F811
    file = io.BytesIO()
    write_frames(file, sorted(pictures.items()))
    writer = running.artifacts.write(Recipe("rendered_shard", "test", 1))
    writer.put_bytes(FRAMES_NAME, file.getvalue())
    return rpc.from_ref(running.artifacts.commit(writer, {"first_frame": 0, "frame_count": len(pictures)}).ref)


async def test_from_a_performer_to_a_page(running: Running) -> None:  # noqa: F811
    heldout = await hold_out(running, await performer_of(running, "preview"))
    assert list(heldout.rows) == ["truth", "nearest", "draft"]
    assert heldout.frame_count == 6  # the last fifth of thirty
    artifact = running.artifacts.open(rpc.to_ref(heldout.artifact))
    assert artifact.facts["clip_frames"] == [24, 25, 26, 27, 28, 29]
    track = PoseTrack.from_arrays(artifact.read_arrays("track.safetensors"))
    truth = dict(read_shard(artifact.local_path("truth.tar")))
    assert (
        sorted(truth)
        == sorted(dict(read_shard(artifact.local_path(MATTES_NAME))))
        == list(range(6))
        == [*range(len(track))]
    )
    black = {t: np.zeros_like(picture) for t, picture in truth.items()}
    asked = [
        trainer_pb2.EvaluatedRow(
            name="performer",
            shards=[store_rendered(running, black)],
            poses=[store_poses(running, "moved", track.keypoints + np.array([3, 0, 0], np.float32))],
        ),
        trainer_pb2.EvaluatedRow(name="nearest"),
        trainer_pb2.EvaluatedRow(name="draft"),
        trainer_pb2.EvaluatedRow(name="truth", poses=[store_poses(running, "same", track.keypoints)]),
    ]
    request = trainer_pb2.EvaluateRequest(heldout=heldout.artifact, rows=asked)
    answer = await running.stub.Evaluate(request)
    rows = {row.name: dict(row.metrics) for row in answer.rows}
    assert list(rows) == ["performer", "nearest", "draft", "truth"]
    assert rows["truth"]["person_ssim"] == pytest.approx(1.0, abs=1e-3)
    assert rows["truth"]["pose_distance"] == 0
    assert rows["performer"]["person_ssim"] < rows["nearest"]["person_ssim"] < 1
    assert 0 < rows["performer"]["pose_distance"] < 0.1
    assert rows["nearest"]["missed_poses"] == 1, "no poses were given for it"
    assert rows["nearest"]["ssim"] > rows["nearest"]["person_ssim"]
    found = running.artifacts.open(rpc.to_ref(answer.artifact))
    assert found.names() == ["comparison.mp4", "evaluation.json", "index.html", "sheet.jpg"]
    assert found.read_json("evaluation.json")["rows"]["truth"] == rows["truth"]
    with av.open(str(found.local_path("comparison.mp4"))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
        assert container.streams.video[0].width == 4 * 160
    assert await running.stub.Evaluate(request) == answer


async def test_a_draft_is_judged_too_and_a_short_clip_cannot_be(running: Running) -> None:  # noqa: F811
    performer = await performer_of(running, "draft")
    assert list((await hold_out(running, performer)).rows) == ["truth", "nearest"]
    refs = store_study(running.artifacts, make_study(12), "short")
    error = await refusal(
        running.stub.HoldOut(
            trainer_pb2.HoldOutRequest(
                performer=performer, clip=rpc.from_ref(refs.clip), track=rpc.from_ref(refs.track),
                camera=rpc.from_ref(refs.camera), matte_shards=[rpc.from_ref(ref) for ref in refs.matte_shards],
                plate=rpc.from_ref(refs.plate),
            )
        )
    )  # fmt: skip
    assert isinstance(error, ClipTooShort)
    assert "12 frames" in str(error)


async def test_rows_need_names_of_their_own(running: Running) -> None:  # noqa: F811
    heldout = rpc.from_ref(ArtifactRef("heldout", "0" * 64))
    for names in ([], ["truth", "truth"], ["../etc"]):
        rows = [trainer_pb2.EvaluatedRow(name=name) for name in names]
        error = await refusal(running.stub.Evaluate(trainer_pb2.EvaluateRequest(heldout=heldout, rows=rows)))
        assert isinstance(error, InvalidOption)
    assert by_reason("CLIP_TOO_SHORT") is ClipTooShort
