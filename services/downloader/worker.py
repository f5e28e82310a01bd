"""The downloader's own work: an address becomes an upload, an upload becomes a clip.

Key of a clip: the digest of the file's bytes and the trims; nothing about where it came from. Frame shards are
artifacts of their own and are committed while decoding goes on; the clip comes last. Interrupted and called again, the
file is decoded again from its start (a few percent of the work, and the only way that gives the same frames for any
codec), and shards that are there already are neither converted nor compressed nor stored again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import DataCorrupted, InvalidOption, ObjectNotFound
from services.common.shards import FRAMES_NAME, FRAMES_PER_SHARD
from services.common.stage import Job
from services.common.store import FileObjectStore
from services.common.video import VideoLimits
from services.downloader.addresses import parse
from services.downloader.child import Child
from services.downloader.config import DownloaderSettings
from services.downloader.sources import fetch, sources_for

VERSION: Final = 1
"""Raise it when the same file would give other frames."""


@dataclass(frozen=True)
class Trims:
    """Which part of a video. Seconds count from its first frame; an end of 0 and a count of 0 mean all."""

    start_seconds: float = 0.0
    end_seconds: float = 0.0
    max_frames: int = 0


def upload_key(sha256: str) -> str:
    """Where an upload lies in the store. Raises InvalidOption."""
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise InvalidOption(f"an upload is named by 64 hexadecimal digits, not {sha256[:80]!r}")
    return f"uploads/{sha256}"


def clip_recipe(sha256: str, trims: Trims) -> Recipe:
    """Everything that decides a clip."""
    upload_key(sha256)
    return Recipe("clip", "download", VERSION, options={"upload_sha256": sha256, **asdict(trims)})


def shard_recipe(clip: ArtifactRef, number: int) -> Recipe:
    """Frame shard `number` of a clip."""
    return Recipe("frame_shard", "download", VERSION, inputs={"clip": clip}, options={"number": number})


class Downloader:
    """Brings videos in."""

    def __init__(self, artifacts: Artifacts, settings: DownloaderSettings) -> None:
        self._artifacts, self._settings = artifacts, settings
        self._sources = sources_for(settings)

    def fetch(self, url: str, job: Job) -> str:
        """Downloads an address into the store. Returns the SHA-256 of its bytes. Raises what `sources.fetch` does."""
        parse(url)
        with self._folder() as folder:
            path = folder / "download"
            fetch(url, path, self._sources, job)
            self._settings.limits.check_bytes(path.stat().st_size)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if self._artifacts.store.stat(upload_key(digest)) is None:
                self._artifacts.store.put_file(upload_key(digest), path)
        return digest

    def forget_incomplete(self, recipe: Recipe) -> None:
        """Drops a committed clip when one of its frame shards is gone, so that the call makes both again."""
        clip = self._artifacts.find(recipe.ref)
        if clip is None:
            return
        shards = [ArtifactRef(**shard["artifact"]) for shard in clip.facts["shards"]]
        if not all(self._artifacts.exists(shard) for shard in shards):
            self._artifacts.delete(recipe.ref)

    def ingest(
        self, sha256: str, trims: Trims, job: Job, writer: ArtifactWriter, min_frames: int = VideoLimits.min_frames
    ) -> Facts:
        """Decodes an upload into frame shards and fills the clip's `writer`. Returns the clip's facts.

        With `min_frames` 1, photographs and single frames are let in.

        Raises the errors of `probe`, ObjectNotFound (no such upload), DataCorrupted (it changed), StorageFull.
        """
        clip = writer.recipe.ref
        with self._folder() as folder, self._local_upload(sha256, folder) as path:
            shards = self._committed_shards(clip, job)
            limits = replace(self._settings.limits, min_frames=min_frames)
            child = self._decoder(path, folder, trims, limits, skip=sorted(shards))
            result: dict[str, Any] = {}
            total = 0
            for message in child.messages(job):
                if probed := message.get("probed"):
                    total = int(probed["frame_count"])
                if (frames := message.get("frames")) is not None:
                    job.progress(int(frames), total, "frames")
                if shard := message.get("shard"):
                    facts = self._commit_shard(clip, shard)
                    shards[int(shard["number"])] = facts
                    job.emit(facts)
                    job.progress(int(facts["first_frame"]) + int(facts["frame_count"]), total, "frames")
                result = message.get("done") or result
            self._fill(writer, folder, has_audio=bool(result["has_audio"]))
        ordered = [shards[number] for number in sorted(shards)]
        return {**result, "shards": ordered, "upload_sha256": sha256}

    def _decoder(self, path: Path, folder: Path, trims: Trims, limits: VideoLimits, skip: list[int]) -> Child:
        request = {
            "path": str(path),
            "folder": str(folder),
            "limits": asdict(limits),
            "trims": asdict(trims),
            "skip_shards": skip,
        }
        return Child(
            "services.downloader.decoder_process",
            request,
            memory_bytes=self._settings.downloader_decoder_memory_bytes,
            silence_seconds=self._settings.downloader_decoder_silence_seconds,
            timeout_seconds=self._settings.downloader_decoder_timeout_seconds,
        )

    def _committed_shards(self, clip: ArtifactRef, job: Job) -> dict[int, Facts]:
        """Shards that an earlier, interrupted call left, announced again."""
        found: dict[int, Facts] = {}
        for number in range(1 + self._settings.limits.max_packets // FRAMES_PER_SHARD):
            shard = self._artifacts.find(shard_recipe(clip, number).ref)
            if shard is None:
                break
            found[number] = _shard_facts(shard.ref, shard.facts)
            job.emit(found[number])
        return found

    def _commit_shard(self, clip: ArtifactRef, shard: dict[str, Any]) -> Facts:
        number, path = int(shard["number"]), Path(shard["path"])
        writer = self._artifacts.write(shard_recipe(clip, number))
        writer.put_file(FRAMES_NAME, path)
        path.unlink()
        facts = {"first_frame": number * FRAMES_PER_SHARD, "frame_count": int(shard["frame_count"])}
        committed = self._artifacts.commit(writer, facts)
        return _shard_facts(committed.ref, committed.facts)

    def _fill(self, writer: ArtifactWriter, folder: Path, *, has_audio: bool) -> None:
        if has_audio:
            writer.put_file("audio.mka", folder / "audio.mka")
        writer.put_file("thumbnail.jpg", folder / "thumbnail.jpg")
        writer.put_arrays("times.safetensors", {"pts_seconds": np.fromfile(folder / "times.f64", np.float64)})

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        self._settings.cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ingest-", dir=self._settings.cache_dir) as folder:
            yield Path(folder)

    @contextmanager
    def _local_upload(self, sha256: str, folder: Path) -> Iterator[Path]:
        """The upload as a local file with verified bytes."""
        store, key = self._artifacts.store, upload_key(sha256)
        info = store.stat(key)
        if info is None:
            raise ObjectNotFound(f"there is no upload {sha256[:12]}; upload the file first", key=key)
        self._settings.limits.check_bytes(info.size_bytes)
        if isinstance(store, FileObjectStore):
            path = store.path(key)
        else:
            path = folder / "upload"
            store.get_file(key, path)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DataCorrupted(f"upload {sha256[:12]} differs from its name; upload the file again", object=key)
        yield path


def _shard_facts(ref: ArtifactRef, facts: Facts) -> Facts:
    """The FrameShard message of a committed shard, as JSON."""
    return {
        "artifact": ref.to_json(),
        "first_frame": int(facts["first_frame"]),
        "frame_count": int(facts["frame_count"]),
    }
