"""The rendering service over its real protocol: started on a free port, called by a real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import grpc
import numpy as np
import pytest
import torch
from understudy.v1 import renderer_pb2, renderer_pb2_grpc

from services.common import rpc
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.camera import warp
from services.common.errors import InvalidInput, InvalidOption, NoPersonFound, by_reason
from services.common.frames import read_shard
from services.common.nn.generator import Generator
from services.common.server import Service, open_runner, start
from services.common.shards import FRAMES_NAME
from services.renderer.config import RendererSettings
from services.renderer.encoding import Encoder
from services.renderer.servicer import RendererServicer
from services.renderer.worker import Renderer
from services.trainer.export import export_onnx
from services.trainer.study import StudyRefs
from tests.support.studies import store_draft, store_performer, store_study, store_track
from tests.unit.trainer.figure import Study, make_study
from tests.unit.trainer.test_training import TINY

FRAMES = 20


@dataclass(frozen=True)
class Running:
    stub: renderer_pb2_grpc.RendererServiceAsyncStub
    artifacts: Artifacts
    study: Study
    source: StudyRefs
    performer: ArtifactRef
    driven: ArtifactRef

    async def render(
        self, first: int, count: int, background: renderer_pb2.Background | None = None, **other: ArtifactRef
    ) -> renderer_pb2.RenderFramesResponse:
        return await self.stub.RenderFrames(
            renderer_pb2.RenderFramesRequest(
                performer=rpc.from_ref(self.performer),
                driven_track=rpc.from_ref(other.get("driven", self.driven)),
                first_frame=first,
                frame_count=count,
                background=background,
            )
        )

    def shown(self, response: renderer_pb2.RenderFramesResponse) -> dict[int, Any]:
        artifact = self.artifacts.open(rpc.to_ref(response.artifact))
        return dict(read_shard(artifact.local_path(FRAMES_NAME)))

    async def encode(
        self, shards: list[renderer_pb2.RenderFramesResponse], driven: ArtifactRef | None = None, **options: str
    ) -> renderer_pb2.Video:
        call = self.stub.EncodeVideo(
            renderer_pb2.EncodeVideoRequest(
                rendered_shards=[shard.artifact for shard in shards],
                driven_track=rpc.from_ref(driven or self.driven),
                source_clip=rpc.from_ref(self.source.clip),
                source_track=rpc.from_ref(self.source.track),
                **options,
            )
        )
        updates = [update async for update in call]
        assert updates[-1].WhichOneof("update") == "video"
        return updates[-1].video


@pytest.fixture(scope="module")
def model() -> bytes:
    """An untrained generator that paints the whole window."""
    torch.manual_seed(1)
    generator = Generator(TINY)
    assert generator.last.bias is not None
    torch.nn.init.constant_(generator.last.bias, 2.0)
    return export_onnx(generator, 64)


@pytest.fixture
async def running(tmp_path: Path, model: bytes) -> AsyncIterator[Running]:
    settings = RendererSettings(
        store_url=f"file://{tmp_path}/store", cache_dir=tmp_path / "cache", metrics_port=-1, renderer_threads=2
    )
    runner = open_runner(settings)
    renderer = Renderer(runner.artifacts, settings.renderer_threads)
    servicer = RendererServicer(runner, renderer, Encoder(runner.artifacts))
    service = Service(
        name="renderer",
        grpc_name="understudy.v1.RendererService",
        register=lambda server: renderer_pb2_grpc.add_RendererServiceServicer_to_server(servicer, server),
        load=renderer.load,
        runner=runner,
    )
    server = await start(service, settings)
    study = make_study(FRAMES)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Running(
            renderer_pb2_grpc.RendererServiceStub(channel),
            runner.artifacts,
            study,
            store_study(runner.artifacts, study, "source", _hum(tmp_path / "hum.mka", 0.9, 0.4)),
            store_performer(runner.artifacts, study, TINY, model, 64),
            store_track(runner.artifacts, study.track, "driven_track", "driven"),
        )
    await server.stop(5)


def _hum(path: Path, seconds: float, silent_seconds: float) -> Path:
    """A sound file that begins with silence."""
    rate = 48000
    ticks = np.arange(round(seconds * rate))
    samples = (8000 * np.sin(ticks * 0.05) * (ticks >= silent_seconds * rate)).astype(np.int16)[None]
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _with_invalid(study: Study, *invalid: int) -> Any:
    valid = np.ones(FRAMES, dtype=np.bool_)
    valid[list(invalid)] = False
    return replace(study.track, valid=valid)


async def test_shards_render_alone_and_repeat(running: Running) -> None:
    whole = await running.render(0, FRAMES)
    assert (whole.first_frame, whole.frame_count, whole.rendered_count) == (0, FRAMES, FRAMES)
    pictures = running.shown(whole)
    assert sorted(pictures) == list(range(FRAMES))
    assert pictures[0].shape == running.study.plate.shape
    assert not np.array_equal(pictures[0], running.study.plate)
    part = running.shown(await running.render(7, 6))
    assert sorted(part) == list(range(7, 13))
    assert all(np.array_equal(part[frame], pictures[frame]) for frame in part)
    assert await running.render(0, FRAMES) == whole


async def test_a_draft_performs_without_a_network(running: Running) -> None:
    target = make_study(30)
    performer = store_draft(running.artifacts, store_study(running.artifacts, target, "target"))
    track = _with_invalid(running.study, 3, 4)
    drafting = replace(
        running, performer=performer, driven=store_track(running.artifacts, track, "driven_track", "draft")
    )
    pictures = drafting.shown(await drafting.render(0, FRAMES))
    assert sorted(pictures) == list(range(FRAMES))
    assert np.array_equal(pictures[4], pictures[2])
    part = drafting.shown(await drafting.render(7, 6))
    assert all(np.array_equal(part[frame], pictures[frame]) for frame in part)
    # The driven track is the target's own: the draft must come close to what was filmed.
    registered = [warp(target.frames[t], target.camera.matrices[t], (160, 120)) for t in range(FRAMES)]
    errors = [np.abs(pictures[t].astype(int) - registered[t]).mean() for t in range(FRAMES) if t not in {3, 4}]
    plain = [np.abs(target.plate.astype(int) - registered[t]).mean() for t in range(FRAMES)]
    assert np.mean(errors) < 0.3 * np.mean(plain)


async def test_a_family_of_the_future_is_refused(running: Running) -> None:
    study = make_study(FRAMES)
    performer = store_performer(running.artifacts, study, TINY, b"", 64, family="diffusion")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await replace(running, performer=performer).render(0, 4)
    assert "'diffusion', which this renderer does not know" in rpc.from_rpc_error(error.value).message


async def test_lost_frames_hold_the_last_pose_and_the_ends_are_cut(running: Running) -> None:
    track = _with_invalid(running.study, 0, 1, 9, 10, FRAMES - 1)
    driven = store_track(running.artifacts, track, "driven_track", "gaps")
    response = await running.render(0, FRAMES, driven=driven)
    pictures = running.shown(response)
    assert sorted(pictures) == list(range(2, FRAMES - 1))
    assert np.array_equal(pictures[9], pictures[8])
    assert np.array_equal(pictures[10], pictures[8])
    later = running.shown(await running.render(10, 5, driven=driven))
    assert np.array_equal(later[10], pictures[10])
    video = await running.encode([response], driven)
    assert (video.frame_count, video.dropped_frames) == (FRAMES - 3, 3)


@pytest.mark.parametrize(("video_format", "layout"), [("", ""), ("webm", "result"), ("mp4", "side_by_side")])
async def test_videos_have_the_rate_the_sound_and_say_what_they_are(
    running: Running, tmp_path: Path, video_format: str, layout: str
) -> None:
    shards = [await running.render(0, 12), await running.render(12, 8)]
    video = await running.encode(shards, format=video_format, layout=layout)
    path = running.artifacts.open(rpc.to_ref(video.artifact)).local_path(video.object_name)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES == video.frame_count
        assert "Synthetic" in str(container.metadata)
    with av.open(str(path)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / 48000
    assert heard == pytest.approx(
        FRAMES * 1001 / 24000,
        abs=0.1,  # AAC's packets of 1024 samples, and its lead
    )
    assert (video.frame_rate.numerator, video.frame_rate.denominator) == (24000, 1001)
    assert video.has_audio
    width = 160 * (3 if layout == "side_by_side" else 1)
    assert (video.width, video.height, video.format) == (width, 120, video_format or "mp4")
    assert video.size_bytes == path.stat().st_size
    assert await running.encode(shards, format=video_format, layout=layout) == video


async def test_sound_begins_with_the_first_performed_frame(running: Running) -> None:
    driven = store_track(running.artifacts, _with_invalid(running.study, *range(10)), "driven_track", "late")
    video = await running.encode([await running.render(0, FRAMES, driven=driven)], driven, format="webm")
    path = running.artifacts.open(rpc.to_ref(video.artifact)).local_path(video.object_name)
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    assert np.abs(sound[2000:6000]).max() > 0.1  # the source is silent until 0.4 s, ten frames are 0.417 s
    assert video.frame_count == FRAMES - 10


async def test_gif_has_no_sound(running: Running) -> None:
    video = await running.encode([await running.render(0, FRAMES)], format="gif")
    assert not video.has_audio
    assert video.object_name == "video.gif"


async def test_mistakes_come_back_as_themselves(running: Running) -> None:
    async def raised(call: Any) -> Exception:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        return rpc.from_rpc_error(error.value)

    shard = await running.render(0, 4)
    assert isinstance(await raised(running.render(-1, 4)), InvalidOption)
    assert isinstance(await raised(running.render(0, 0)), InvalidOption)
    assert isinstance(await raised(running.encode([shard], format="avi")), InvalidOption)
    assert isinstance(await raised(running.encode([shard], layout="cinema")), InvalidOption)
    assert type(await raised(running.encode([shard]))) is InvalidInput
    nobody = store_track(running.artifacts, _with_invalid(running.study, *range(FRAMES)), "driven_track", "nobody")
    assert isinstance(await raised(running.render(0, 4, driven=nobody)), NoPersonFound)
    assert by_reason("NO_PERSON_FOUND") is NoPersonFound
