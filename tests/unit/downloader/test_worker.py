from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from services.common import errors
from services.common.artifacts import Artifact, Artifacts
from services.common.frames import FrameReader
from services.common.stage import Emitted, Job, Progress
from services.downloader.config import DownloaderSettings
from services.downloader.worker import Downloader, Trims, clip_recipe, shard_recipe, upload_key
from tests.support.children import NewChildren
from tests.support.http import web_server
from tests.support.videos import encode, number_of, numbered

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media" / "videos"


class World:
    """A downloader over a store in a folder."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = DownloaderSettings(
            store_url=(folder / "store").as_uri(),
            cache_dir=folder / "cache",
            downloader_allow_private_addresses=True,
            **settings,
        )
        self.artifacts = Artifacts(self.settings.open_store(), self.settings.cache_dir)
        self.downloader = Downloader(self.artifacts, self.settings)
        self.events: list[Any] = []

    def upload(self, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.artifacts.store.put_file(upload_key(digest), path)
        return digest

    def ingest(self, sha256: str, trims: Trims | None = None, job: Job | None = None) -> Artifact:
        trims = trims or Trims()
        writer = self.artifacts.write(clip_recipe(sha256, trims))
        facts = self.downloader.ingest(sha256, trims, job or Job(self.events.append), writer)
        return self.artifacts.commit(writer, facts)

    @property
    def left_over(self) -> list[Path]:
        return list(self.settings.cache_dir.iterdir())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_video_becomes_a_clip(world: World, tmp_path: Path) -> None:
    sound = np.zeros(44_100 * 6, np.int16)
    sha256 = world.upload(encode(tmp_path / "a.mp4", numbered(140), sound=sound))
    clip = world.ingest(sha256)
    facts = clip.facts
    assert {name: facts[name] for name in ("width", "height", "frame_count", "has_audio", "skipped_frames")} == {
        "width": 96, "height": 64, "frame_count": 140, "has_audio": True, "skipped_frames": 0
    }  # fmt: skip
    assert facts["frame_rate"] == {"numerator": 25, "denominator": 1}
    assert [(shard["first_frame"], shard["frame_count"]) for shard in facts["shards"]] == [(0, 64), (64, 64), (128, 12)]
    assert "crop" not in facts
    assert facts["upload_sha256"] == sha256
    assert clip.names() == ["audio.mka", "thumbnail.jpg", "times.safetensors"]
    np.testing.assert_allclose(clip.read_arrays("times.safetensors")["pts_seconds"], np.arange(140) / 25, atol=1e-6)
    frames = FrameReader.of_clip(world.artifacts, facts)
    assert [(index, number_of(image)) for index, image in frames] == [(index, index) for index in range(140)]
    assert [event.facts for event in world.events if isinstance(event, Emitted)] == facts["shards"]
    assert [event for event in world.events if isinstance(event, Progress)][-1].done == 140
    assert world.left_over == []


def test_trims_make_another_clip(world: World, tmp_path: Path) -> None:
    sha256 = world.upload(encode(tmp_path / "a.mp4", numbered(100)))
    clip = world.ingest(sha256, Trims(start_seconds=1.0, end_seconds=3.0, max_frames=30))
    assert clip.facts["frame_count"] == 30
    assert number_of(FrameReader.of_clip(world.artifacts, clip.facts).frame(0)) == 25
    assert clip.ref != clip_recipe(sha256, Trims()).ref


def test_bars_are_remembered(world: World, tmp_path: Path) -> None:
    frames = [np.pad(frame, ((0, 0), (40, 40), (0, 0))) for frame in numbered(10)]
    facts = world.ingest(world.upload(encode(tmp_path / "a.mp4", frames))).facts
    assert facts["crop"] == {"x": 40, "y": 0, "width": 96, "height": 64}
    assert any("176x64 became 96x64" in warning for warning in facts["warnings"])


class _StopAfter:
    """A job that stops once so many shards were announced."""

    def __init__(self, shards: int) -> None:
        self.shards, self.seen = shards, 0
        self.job = Job(self)

    def __call__(self, event: object) -> None:
        if isinstance(event, Emitted):
            self.seen += 1
            if self.seen == self.shards:
                self.job.stop(errors.Cancelled("enough"))


def test_interrupted_and_called_again(world: World, tmp_path: Path) -> None:
    sha256 = world.upload(encode(tmp_path / "a.mp4", numbered(255)))
    with pytest.raises(errors.Cancelled):
        world.ingest(sha256, job=_StopAfter(2).job)
    clip_ref = clip_recipe(sha256, Trims()).ref
    assert not world.artifacts.exists(clip_ref)
    first = world.artifacts.open(shard_recipe(clip_ref, 0).ref)
    stored = world.folder / "store" / first.object_key("frames.tar")
    before = stored.stat().st_mtime_ns
    clip = world.ingest(sha256)
    assert stored.stat().st_mtime_ns == before
    assert [event.facts["first_frame"] for event in world.events if isinstance(event, Emitted)] == [0, 64, 128, 192]
    assert world.left_over == []
    other = World(tmp_path / "other")
    other.upload(tmp_path / "a.mp4")
    undisturbed = other.ingest(sha256)
    assert undisturbed.ref == clip.ref
    assert undisturbed.facts == clip.facts
    for shard in clip.facts["shards"]:
        key = shard_recipe(clip_ref, shard["first_frame"] // 64).ref
        assert world.artifacts.open(key).sha256("frames.tar") == other.artifacts.open(key).sha256("frames.tar")
    assert [clip.sha256(name) for name in clip.names()] == [undisturbed.sha256(name) for name in undisturbed.names()]


def test_a_lost_shard_is_made_again(world: World, tmp_path: Path) -> None:
    sha256 = world.upload(encode(tmp_path / "a.mp4", numbered(130)))
    clip = world.ingest(sha256)
    recipe = clip_recipe(sha256, Trims())
    world.downloader.forget_incomplete(recipe)
    assert world.artifacts.exists(clip.ref)
    world.artifacts.delete(shard_recipe(clip.ref, 1).ref)
    world.downloader.forget_incomplete(recipe)
    assert not world.artifacts.exists(clip.ref)
    assert world.ingest(sha256).facts == clip.facts


@pytest.fixture
def decoders() -> NewChildren:
    return NewChildren()


def _only(decoders: NewChildren) -> psutil.Process:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if found := decoders():
            (decoder,) = found
            return decoder
        time.sleep(0.01)
    raise AssertionError("no child process")


def long_enough() -> list[NDArray[np.uint8]]:
    """Frames of which many are still to be decoded when the first shard is there, on the quickest machine."""
    return numbered(400, 480, 360)


@pytest.mark.parametrize(("end", "says"), [(signal.SIGSEGV, "exit -11"), (signal.SIGKILL, "memory")])
def test_a_crash_of_the_decoder_is_one_error(
    world: World, tmp_path: Path, decoders: NewChildren, end: signal.Signals, says: str
) -> None:
    sha256 = world.upload(encode(tmp_path / "a.mp4", long_enough()))

    def strike(event: object) -> None:
        if isinstance(event, Emitted):
            os.kill(_only(decoders).pid, end)

    with pytest.raises(errors.UnreadableVideo, match=says):
        world.ingest(sha256, job=Job(strike))
    assert world.left_over == []
    assert decoders() == []


def test_a_decoder_that_hangs_is_ended(tmp_path: Path, decoders: NewChildren) -> None:
    world = World(tmp_path, downloader_decoder_silence_seconds=1.0)
    sha256 = world.upload(encode(tmp_path / "a.mp4", long_enough()))

    def freeze(event: object) -> None:
        if isinstance(event, Emitted):
            _only(decoders).suspend()

    with pytest.raises(errors.UnreadableVideo, match="stood still"):
        world.ingest(sha256, job=Job(freeze))
    assert decoders() == []


def test_memory_is_bounded(tmp_path: Path) -> None:
    world = World(tmp_path, downloader_decoder_memory_bytes=512 * 1024**2)
    frames = [np.random.default_rng(0).integers(0, 255, (2160, 4096, 3), np.uint8)] * 12
    path = encode(tmp_path / "a.mkv", frames, codec="mjpeg", pixel_format="yuvj420p")
    with pytest.raises(errors.UnreadableVideo, match=r"512 MiB of memory|decoder broke|can be decoded"):
        world.ingest(world.upload(path))


def test_no_such_upload(world: World) -> None:
    with pytest.raises(errors.ObjectNotFound, match="upload the file first"):
        world.ingest("0" * 64)
    with pytest.raises(errors.InvalidOption, match="64 hexadecimal"):
        clip_recipe("../../etc/passwd", Trims())


def test_an_upload_that_changed(world: World, tmp_path: Path) -> None:
    sha256 = world.upload(encode(tmp_path / "a.mp4", numbered(10)))
    world.artifacts.store.put(upload_key(sha256), b"something else")
    with pytest.raises(errors.DataCorrupted, match="differs from its name"):
        world.ingest(sha256)


def test_errors_of_the_file_come_through_with_their_numbers(world: World, tmp_path: Path) -> None:
    sha256 = world.upload(encode(tmp_path / "a.mp4", numbered(1)))
    with pytest.raises(errors.VideoTooShort, match="has 1 frame") as caught:
        world.ingest(sha256)
    assert caught.value.metadata["frame_count"] == "1"
    assert world.left_over == []


def test_an_address_becomes_an_upload(world: World, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", numbered(20))
    with web_server(tmp_path) as url:
        sha256 = world.downloader.fetch(f"{url}/file/a.mp4", Job())
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert world.ingest(sha256).facts["frame_count"] == 20


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the media folder is not there")
@pytest.mark.parametrize(
    ("name", "size", "frames"),
    [
        ("felixchenfy_exercise.avi", (384, 288), 393),
        ("sports2d_demo3_run_lowres.mp4", (480, 352), 47),
        ("tfjs_squats_5fps.mp4", (720, 1280), 65),
        ("poseformerv2_skate.mp4", (1280, 720), 185),
    ],
)
def test_real_clips(world: World, name: str, size: tuple[int, int], frames: int) -> None:
    facts = world.ingest(world.upload(MEDIA / name)).facts
    assert ((facts["width"], facts["height"]), facts["frame_count"]) == (size, frames)
    assert facts["skipped_frames"] == 0
    assert facts["warnings"] == []
