from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import downloader_pb2, downloader_pb2_grpc

from services.common import errors, rpc
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.frames import FrameReader
from services.common.server import open_runner, start
from services.common.shards import ShardEntry
from services.downloader.config import DownloaderSettings
from services.downloader.servicer import make_service
from services.downloader.worker import upload_key
from tests.support.children import NewChildren
from tests.support.http import web_server
from tests.support.photos import write_photo
from tests.support.videos import encode, number_of, numbered

Request = downloader_pb2.IngestRequest


@pytest.fixture
def settings(tmp_path: Path) -> DownloaderSettings:
    return DownloaderSettings(
        store_url=(tmp_path / "store").as_uri(),
        cache_dir=tmp_path / "cache",
        metrics_port=-1,
        slots=2,
        downloader_allow_private_addresses=True,
        downloader_sites=False,
        downloader_read_timeout_seconds=1.0,
    )


@asynccontextmanager
async def _served(settings: DownloaderSettings) -> AsyncIterator[tuple[Any, grpc.aio.Channel]]:
    running = await start(make_service(open_runner(settings), settings), settings)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        try:
            yield downloader_pb2_grpc.DownloaderServiceStub(channel), channel
        finally:
            await running.stop(5)


@pytest.fixture
def artifacts(settings: DownloaderSettings) -> Artifacts:
    return Artifacts(settings.open_store(), settings.cache_dir)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    with web_server(tmp_path) as url:
        yield url


def _upload(artifacts: Artifacts, path: Path) -> str:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    artifacts.store.put_file(upload_key(sha256), path)
    return sha256


async def _all(call: Any) -> list[downloader_pb2.IngestResponse]:
    return [response async for response in call]


async def _error(call: Any) -> errors.UnderstudyError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _all(call)
    return rpc.from_rpc_error(caught.value)


async def test_shards_first_and_the_clip_last(
    settings: DownloaderSettings, artifacts: Artifacts, tmp_path: Path
) -> None:
    sha256 = _upload(artifacts, encode(tmp_path / "a.mp4", numbered(150)))
    async with _served(settings) as (stub, _):
        first = await _all(stub.Ingest(Request(upload_sha256=sha256)))
        again = await _all(stub.Ingest(Request(upload_sha256=sha256)))
    clip = first[-1].clip
    assert [response.WhichOneof("update") for response in first].count("clip") == 1
    shards = [response.shard for response in first if response.WhichOneof("update") == "shard"]
    assert shards == list(clip.shards)
    assert [(shard.first_frame, shard.frame_count) for shard in shards] == [(0, 64), (64, 64), (128, 22)]
    assert (clip.width, clip.height, clip.frame_count, clip.frame_rate.numerator) == (96, 64, 150, 25)
    assert not clip.HasField("crop")
    assert again == [downloader_pb2.IngestResponse(clip=clip)]
    entries = [ShardEntry(rpc.to_ref(each.artifact), each.first_frame, each.frame_count) for each in clip.shards]
    assert [number_of(frame) for _, frame in FrameReader(artifacts, entries)] == list(range(150))


async def test_an_address(settings: DownloaderSettings, tmp_path: Path, web: str) -> None:
    encode(tmp_path / "a.mp4", numbered(40))
    async with _served(settings) as (stub, _):
        responses = await _all(stub.Ingest(Request(url=f"{web}/file/a.mp4", start_seconds=0.4, max_frames=20)))
    assert responses[0].progress.unit == "bytes"
    assert responses[-1].clip.frame_count == 20
    assert responses[-1].clip.upload_sha256 == hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("request_", "kind", "says"),
    [
        (Request(), errors.InvalidOption, "needs a source"),
        (Request(upload_sha256="nonsense"), errors.InvalidOption, "64 hexadecimal digits"),
        (Request(upload_sha256="0" * 64), errors.ObjectNotFound, "upload the file first"),
        (Request(url="ftp://example.com/a"), errors.UnsafeAddress, "not an http or https address"),
        (Request(url="{web}/missing"), errors.DownloadFailed, "answered 404"),
        (Request(url="{web}/hang"), errors.DownloadTimedOut, "silent for 1 s"),
        (Request(url="{web}/file/notes.mp4"), errors.UnreadableVideo, "not a video that can be read"),
        (Request(url="{web}/file/a.mp4", start_seconds=9), errors.InvalidOption, "lies after the end"),
    ],
)  # fmt: skip
async def test_mistakes_have_names_and_numbers(
    settings: DownloaderSettings, tmp_path: Path, web: str, request_: Request, kind: type[Exception], says: str
) -> None:
    encode(tmp_path / "a.mp4", numbered(10))
    (tmp_path / "notes.mp4").write_text("no video " * 100)
    if request_.url:
        request_.url = request_.url.replace("{web}", web)
    async with _served(settings) as (stub, _):
        error = await _error(stub.Ingest(request_))
    assert type(error) is kind
    assert says in error.message
    assert not settings.cache_dir.exists() or list(settings.cache_dir.iterdir()) == []


async def test_a_photograph_where_one_frame_is_enough(
    settings: DownloaderSettings, artifacts: Artifacts, tmp_path: Path
) -> None:
    sha256 = _upload(artifacts, write_photo(tmp_path / "a.jpg", numbered(1)[0]))
    async with _served(settings) as (stub, _):
        for _ in range(2):
            refused = await _error(stub.Ingest(Request(upload_sha256=sha256)))
            assert isinstance(refused, errors.VideoTooShort)
            assert (await _all(stub.Ingest(Request(upload_sha256=sha256, min_frames=1))))[-1].clip.frame_count == 1
        assert isinstance(await _error(stub.Ingest(Request(upload_sha256=sha256, min_frames=-1))), errors.InvalidOption)


async def test_private_addresses_need_leave(settings: DownloaderSettings, web: str) -> None:
    strict = settings.model_copy(update={"downloader_allow_private_addresses": False})
    async with _served(strict) as (stub, _):
        error = await _error(stub.Ingest(Request(url=f"{web}/file/a.mp4")))
    assert isinstance(error, errors.UnsafeAddress)
    assert error.metadata["address"] == "127.0.0.1"


async def test_two_at_once_do_the_work_once(settings: DownloaderSettings, artifacts: Artifacts, tmp_path: Path) -> None:
    sha256 = _upload(artifacts, encode(tmp_path / "a.mp4", numbered(200)))
    decoders = NewChildren()
    async with _served(settings) as (stub, _):
        calls = [asyncio.create_task(_all(stub.Ingest(Request(upload_sha256=sha256)))) for _ in range(2)]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, len(decoders()))
            await asyncio.sleep(0.005)
        one, other = [call.result() for call in calls]
    assert one[-1].clip == other[-1].clip
    assert most == 1


async def test_a_caller_that_goes_away(settings: DownloaderSettings, artifacts: Artifacts, tmp_path: Path) -> None:
    sha256 = _upload(artifacts, encode(tmp_path / "a.mp4", numbered(250)))
    decoders = NewChildren()
    async with _served(settings) as (stub, _):
        call = stub.Ingest(Request(upload_sha256=sha256))
        async for response in call:
            if response.WhichOneof("update") == "shard":
                break
        call.cancel()
        for _ in range(400):
            if not decoders():
                break
            await asyncio.sleep(0.02)
        assert decoders() == []
        responses = await _all(stub.Ingest(Request(upload_sha256=sha256)))
    assert responses[-1].clip.frame_count == 250
    assert list(settings.cache_dir.iterdir()) == []


async def test_a_lost_shard_heals(settings: DownloaderSettings, artifacts: Artifacts, tmp_path: Path) -> None:
    sha256 = _upload(artifacts, encode(tmp_path / "a.mp4", numbered(100)))
    async with _served(settings) as (stub, _):
        clip = (await _all(stub.Ingest(Request(upload_sha256=sha256))))[-1].clip
        lost = clip.shards[0].artifact
        artifacts.delete(ArtifactRef(lost.kind, lost.key))
        assert (await _all(stub.Ingest(Request(upload_sha256=sha256))))[-1].clip == clip
    assert artifacts.exists(ArtifactRef(lost.kind, lost.key))


async def test_health(settings: DownloaderSettings) -> None:
    async with _served(settings) as (_, channel):
        health: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="understudy.v1.DownloaderService")
        for _ in range(200):
            if (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING:
                return
            await asyncio.sleep(0.02)
    raise AssertionError("never serving")
