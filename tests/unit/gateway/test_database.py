"""The gateway's tables: saved, found again, paged, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.database import Database
from gateway.resources import Clip, ClipUse, Ref, State, Transfer
from gateway.results import StoredPerformer, Study
from services.common.errors import Conflict, InvalidOption, ResourceNotFound

KEY = "0" * 64


def ref(kind: str) -> Ref:
    return Ref(kind=kind, key=KEY)


def performer(performer_id: str, name: str) -> StoredPerformer:
    study = Study(
        clip=ref("clip"), shards=[], first_frames=[], pose_shards=[], track=ref("pose_track"),
        camera=ref("camera_path"), frame_count=1, valid_frame_count=1, upload_sha256=KEY, warnings=[],
    )  # fmt: skip
    return StoredPerformer(id=performer_id, name=name, artifact=ref("performer"), study=study)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield opened
    opened.close()


def test_saves_and_finds_a_clip_by_id_and_by_bytes(database: Database) -> None:
    clip = Clip(id="a", display_name="a.mp4", upload_sha256=KEY, size_bytes=3)
    database.save_clip(clip)
    assert database.clip("a") == clip
    assert database.clips_of_upload(KEY) == [clip]
    database.delete_clip("a")
    with pytest.raises(ResourceNotFound):
        database.clip("a")
    with pytest.raises(ResourceNotFound):
        database.delete_clip("a")


def test_pages_are_newest_first_and_meet_without_gap_or_overlap(database: Database) -> None:
    for number in range(7):
        database.save_clip(Clip(id=f"clip{number}"))
    seen, token = [], ""
    while True:
        page, token = database.clips(3, token)
        seen += [clip.id for clip in page]
        if not token:
            break
    assert seen == [f"clip{number}" for number in reversed(range(7))]


def test_refuses_a_page_token_that_it_did_not_give(database: Database) -> None:
    with pytest.raises(InvalidOption, match="page token"):
        database.clips(3, "no token")
    with pytest.raises(InvalidOption, match="negative"):
        database.clips(-1, "")


def test_a_performer_is_found_by_name_and_names_are_unique(database: Database) -> None:
    database.save_performer(performer("p1", "alice"))
    assert database.performer("alice").id == database.performer("p1").id == "p1"
    assert "study" not in database.performer("alice").public().model_dump()
    with pytest.raises(Conflict, match="alice"):
        database.save_performer(performer("p2", "alice"))


def test_active_transfers_are_those_that_have_not_ended(database: Database) -> None:
    for state in State:
        use = ClipUse(clip_id="c")
        database.save_transfer(Transfer(id=state.value, request_id="r", source=use, state=state))
    assert {each.id for each in database.active_transfers()} == {"QUEUED", "RUNNING"}
    assert {each.id for each in database.active_transfers("r")} == {"QUEUED", "RUNNING"}
    assert database.active_transfers("other") == []


def test_saving_again_replaces(database: Database) -> None:
    transfer = Transfer(id="t", source=ClipUse(clip_id="c"))
    database.save_transfer(transfer)
    transfer.state = State.FAILED
    database.save_transfer(transfer)
    assert database.transfer("t").state is State.FAILED
    assert len(database.all_transfers()) == 1


def test_rates_are_replaced(database: Database) -> None:
    database.save_stage_rate("pose", 1.0)
    database.save_stage_rate("pose", 0.5)
    assert database.stage_rates() == {"pose": 0.5}


def test_what_is_saved_outlives_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    first = Database(url)
    first.save_clip(Clip(id="kept"))
    first.close()
    second = Database(url)
    assert second.clip("kept").id == "kept"
    second.close()
