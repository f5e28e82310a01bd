"""Housekeeping: what nothing names goes, what a transfer needs stays, whatever happens at the same moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.housekeeping import Housekeeping, Swept
from gateway.resources import Clip, ClipUse, Output, Rate, Ref, State, Transfer
from gateway.results import StoredPerformer, Study
from services.common.artifacts import ArtifactRef, Artifacts, Recipe
from services.common.store import FileObjectStore, MeasuredStore
from services.common.store.base import ObjectInfo

DAY = 86_400.0
SHA = "a" * 64


class House:
    """A store and a database, and things put into them at times past."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "store"
        self.store = FileObjectStore(self.root)
        self.artifacts = Artifacts(self.store, folder / "cache")
        self._url = f"sqlite:///{folder / 'gateway.db'}"
        self.database = Database(self._url)

    def sweep(self, *, dry_run: bool = False, artifacts: Artifacts | None = None, **settings: Any) -> Swept:
        values = {"store_url": "memory://", "database_url": self._url, **settings}
        housekeeping = Housekeeping(GatewaySettings(**values), self.database, artifacts or self.artifacts)
        return housekeeping.sweep(dry_run=dry_run)

    def artifact(self, kind: str, name: str, days_old: float = 10, **options: str) -> Ref:
        recipe = Recipe(kind, "test", 1, options={"name": name, **options})
        writer = self.artifacts.write(recipe)
        writer.put_bytes("data", name.encode() * 10)
        self.artifacts.commit(writer, {})
        self.age(recipe.ref.prefix, days_old)
        return Ref(kind=kind, key=recipe.key)

    def put(self, key: str, days_old: float = 10) -> None:
        self.store.put(key, b"bytes")
        self.age(key, days_old)

    def age(self, prefix: str, days_old: float) -> None:
        when = time.time() - days_old * DAY
        for info in list(self.store.list(prefix)):
            os.utime(self.root / info.key, (when, when))

    def has(self, ref: Ref) -> bool:
        return self.artifacts.exists(ArtifactRef(ref.kind, ref.key))

    def transfer(self, name: str, *, refs: tuple[Ref, ...] = (), outputs: tuple[Ref, ...] = (), days_old: float = 10,
                 state: State = State.SUCCEEDED, performer_id: str = "", target: bool = False) -> None:  # fmt: skip
        self.database.add_transfer(
            Transfer(
                id=name, source=ClipUse(clip_id="c"), target=ClipUse(clip_id="c") if target else None, state=state,
                artifacts=list(refs), outputs=[output(ref) for ref in outputs], performer_id=performer_id,
                create_time=past(days_old), update_time=past(days_old),
            )
        )  # fmt: skip

    def performer(
        self, name: str, artifact: Ref, others: tuple[Ref, ...], study: dict[str, Any], days_old: float
    ) -> None:
        known = Study(
            first_frames=[], pose_shards=[], frame_count=1, valid_frame_count=1, upload_sha256="",
            warnings=[], **{"shards": [], **study},
        )  # fmt: skip
        self.database.save_performer(
            StoredPerformer(
                id=name, name=name, artifact=artifact, study=known, artifacts=list(others), create_time=past(days_old)
            )
        )


def past(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def output(ref: Ref) -> Output:
    return Output(
        name="mp4", artifact=ref, object_name="video.mp4", width=1, height=1, frame_count=1,
        frame_rate=Rate(numerator=25, denominator=1), has_audio=False, size_bytes=1, media_type="video/mp4",
    )  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.database.close()


def study_of(house: House) -> dict[str, Ref]:
    return {
        "clip": house.artifact("clip", "s", upload_sha256=SHA),
        "track": house.artifact("pose_track", "s"),
        "camera": house.artifact("camera_path", "s"),
    }


def test_what_nothing_names_goes_once_it_is_old_enough(house: House) -> None:
    orphan, young = house.artifact("plate", "orphan"), house.artifact("plate", "young", days_old=0.5)
    by_transfer, by_clip = house.artifact("plate", "t"), house.artifact("pose_shard", "c")
    house.transfer("failed", refs=(by_transfer,), state=State.FAILED)
    house.database.save_clip(Clip(id="c", artifacts=[by_clip]))
    swept = house.sweep()
    assert swept.artifacts == [f"plate/{orphan.key}"]
    assert swept.size_bytes > 0
    assert [house.has(ref) for ref in (orphan, young, by_transfer, by_clip)] == [False, True, True, True]
    assert not list(house.store.list(f"artifacts/plate/{orphan.key}/"))
    assert house.sweep().counts() == Swept().counts()


def test_a_dry_run_says_the_same_and_deletes_nothing(house: House) -> None:
    result = house.artifact("video", "old")
    house.transfer("old", outputs=(result,), refs=(result,), days_old=40)
    house.artifact("plate", "orphan")
    house.put("scratch/" + "1" * 64 + "/checkpoint-1.json")
    house.put(f"uploads/{SHA}")
    before = [info.key for info in house.store.list("")]
    said = house.sweep(dry_run=True, retention_results_days=30)
    assert [info.key for info in house.store.list("")] == before
    assert house.database.transfer("old")
    assert house.sweep(retention_results_days=30) == said
    assert said.transfers == ["old"]
    assert len(said.artifacts) == 2
    assert [info.key for info in house.store.list("")] == []


def test_an_artifact_that_was_never_committed_goes(house: House) -> None:
    house.put(f"artifacts/plate/{'2' * 64}/{'3' * 64}")
    house.put(f"artifacts/plate/{'4' * 64}/{'3' * 64}", days_old=0.1)
    assert house.sweep().artifacts == [f"plate/{'2' * 64}"]


def test_what_was_written_since_a_running_transfer_began_stays(house: House) -> None:
    house.transfer("long", state=State.RUNNING, days_old=5, target=True)
    before, since = house.artifact("plate", "before", days_old=6), house.artifact("plate", "since", days_old=4)
    house.put(f"scratch/{'1' * 64}/checkpoint-1.json", days_old=9)
    house.put(f"uploads/{SHA}", days_old=4)
    swept = house.sweep()
    assert swept.artifacts == [f"plate/{before.key}"]
    assert house.has(since)
    assert (swept.scratch, swept.uploads) == ([], [])


def test_scratch_of_dead_trainings_goes(house: House) -> None:
    house.put(f"scratch/{'1' * 64}/checkpoint-1.json")
    house.put(f"scratch/{'2' * 64}/checkpoint-1.json")
    house.put(f"scratch/{'2' * 64}/checkpoint-2.json", days_old=0.1)
    assert house.sweep().scratch == ["1" * 64]
    assert {info.key.split("/")[1] for info in house.store.list("scratch/")} == {"2" * 64}


def test_uploads_live_as_long_as_their_clip_or_what_was_made_of_it(house: House) -> None:
    for sha in "abcd":
        house.put(f"uploads/{sha * 64}", days_old=0.1 if sha == "d" else 10)
    house.database.save_clip(Clip(id="c", upload_sha256="a" * 64))
    house.transfer("t", refs=(house.artifact("clip", "of an address", upload_sha256="b" * 64),))
    assert house.sweep().uploads == ["c" * 64]


def test_other_prefixes_are_not_ours_to_sweep(house: House) -> None:
    house.put("weights/" + "5" * 64 + "/net.tflite")
    assert house.sweep().counts() == Swept().counts()


def test_results_are_kept_for_as_long_as_the_settings_say(house: House) -> None:
    old, recent = house.artifact("video", "old"), house.artifact("video", "recent")
    shared = house.artifact("plate", "shared")
    house.transfer("old", outputs=(old,), refs=(shared,), days_old=31)
    house.transfer("recent", outputs=(recent,), refs=(shared,), days_old=29)
    house.transfer("running", state=State.RUNNING, days_old=31)
    swept = house.sweep(retention_results_days=30, gc_grace_seconds=0)
    assert swept.transfers == ["old"]
    assert {each.id for each in house.database.all_transfers()} == {"recent", "running"}


def test_intermediates_go_first_and_results_stay(house: House) -> None:
    study = study_of(house)
    artifact, matte, video = (house.artifact(kind, "x") for kind in ("performer", "matte_shard", "video"))
    house.transfer("t", refs=(matte, *study.values(), video), outputs=(video,), days_old=8)
    frames = house.artifact("frame_shard", "s")
    made = (matte, frames, *study.values(), artifact)
    house.performer("p", artifact, made, {**study, "shards": [frames]}, days_old=8)
    house.database.save_clip(Clip(id="c", artifacts=[matte], create_time=past(8)))
    assert house.sweep(retention_intermediates_days=9).artifacts == []
    swept = house.sweep(retention_intermediates_days=7)
    assert swept.artifacts == [f"matte_shard/{matte.key}"]
    # frames too: without them the performer could not be fitted with another dance
    assert all(house.has(ref) for ref in (artifact, video, frames, *study.values()))


def test_performers_that_have_not_danced_for_long_go(house: House) -> None:
    study = study_of(house)
    made = {name: house.artifact("performer", name) for name in ("idle", "danced", "dancing")}
    for name, artifact in made.items():
        house.performer(name, artifact, (artifact, *study.values()), study, days_old=100)
    house.transfer("t1", performer_id="danced", days_old=10)
    house.transfer("t2", performer_id="dancing", state=State.RUNNING, days_old=95)
    swept = house.sweep(retention_performers_days=90)
    assert swept.performers == ["idle"]
    house.transfer("t3", performer_id="dancing", days_old=1)
    assert {each.id for each in house.database.all_performers()} == {"danced", "dancing"}
    assert house.has(study["track"])


class _Meanwhile(MeasuredStore):
    """A store in which something happens at the moment when artifacts have just been listed."""

    def __init__(self, inner: FileObjectStore, act: Callable[[], None]) -> None:
        super().__init__(inner)
        self._act = act

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self.inner.list(prefix)
        if prefix == "artifacts/":
            self._act()


def test_what_a_transfer_names_while_it_is_swept_stays(house: House, tmp_path: Path) -> None:
    found, orphan = house.artifact("plate", "found again"), house.artifact("plate", "orphan")

    def begin() -> None:
        house.transfer("new", refs=(found,), state=State.RUNNING, days_old=0)

    racing = Artifacts(_Meanwhile(house.store, begin), tmp_path / "cache")
    assert house.sweep(artifacts=racing).artifacts == [f"plate/{orphan.key}"]
    assert house.has(found)


def test_an_artifact_deleted_under_a_sweep_is_no_error(house: House, tmp_path: Path) -> None:
    orphan = house.artifact("plate", "orphan")
    ref = ArtifactRef(orphan.kind, orphan.key)
    racing = Artifacts(_Meanwhile(house.store, lambda: house.artifacts.delete(ref)), tmp_path / "cache")
    assert house.sweep(artifacts=racing).artifacts == [f"plate/{orphan.key}"]
