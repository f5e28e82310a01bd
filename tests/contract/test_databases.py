"""What the gateway's tables promise, over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.database import Database
from gateway.resources import Clip, ClipUse, Ref, State, Transfer
from gateway.results import StoredPerformer, Study
from gateway.sql import checked_url, patiently
from services.common.errors import Conflict, InvalidOption, ResourceNotFound, StoreUnavailable
from tests.support.postgres import PostgresServer, required_server

KEY = "0" * 64
T = TypeVar("T")


def ref(kind: str) -> Ref:
    return Ref(kind=kind, key=KEY)


def performer(performer_id: str, name: str) -> StoredPerformer:
    study = Study(
        clip=ref("clip"), shards=[], first_frames=[], pose_shards=[], track=ref("pose_track"),
        camera=ref("camera_path"), frame_count=1, valid_frame_count=1, upload_sha256=KEY, warnings=[],
    )  # fmt: skip
    return StoredPerformer(id=performer_id, name=name, artifact=ref("performer"), study=study)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def new_transfer(transfer_id: str, request_id: str = "", state: State = State.QUEUED) -> Transfer:
    return Transfer(id=transfer_id, request_id=request_id, source=ClipUse(clip_id="c"), state=state)


def at_once(calls: int, work: Callable[[int], T]) -> list[T]:
    """What `calls` threads return that begin at the same moment."""
    start = threading.Barrier(calls)

    def begin(number: int) -> T:
        start.wait(20)
        return work(number)

    with ThreadPoolExecutor(calls) as pool:
        return list(pool.map(begin, range(calls)))


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
        database.add_transfer(new_transfer(state.value, state.value, state))
    assert {each.id for each in database.active_transfers()} == {"QUEUED", "RUNNING"}
    assert {each.id for each in database.active_transfers("QUEUED")} == {"QUEUED"}
    assert database.active_transfers("FAILED") == []


def test_saving_a_transfer_again_replaces_it(database: Database) -> None:
    transfer = database.add_transfer(new_transfer("t"))
    transfer.state = State.RUNNING
    assert database.save_transfer(transfer)
    assert database.transfer("t").state is State.RUNNING
    assert len(database.all_transfers()) == 1


def test_an_end_is_final_and_what_is_gone_stays_gone(database: Database) -> None:
    transfer = database.add_transfer(new_transfer("t"))
    transfer.state = State.CANCELLED
    assert database.save_transfer(transfer)
    transfer.state = State.RUNNING  # the gateway that works on it has not heard yet
    assert not database.save_transfer(transfer)
    assert database.transfer("t").state is State.CANCELLED
    database.delete_transfer("t")
    assert not database.save_transfer(transfer)
    assert database.all_transfers() == []


def test_a_request_id_has_one_transfer_under_way(database: Database) -> None:
    first = database.add_transfer(new_transfer("t1", "r"))
    assert database.add_transfer(new_transfer("t2", "r")).id == first.id
    first.state = State.SUCCEEDED
    database.save_transfer(first)
    assert database.add_transfer(new_transfer("t3", "r")).id == "t3"
    assert database.add_transfer(new_transfer("t4")).id == "t4"
    assert database.add_transfer(new_transfer("t5")).id == "t5"


def test_of_racing_requests_with_one_id_one_begins_a_transfer(url: str) -> None:
    gateways = [Database(url) for _ in range(2)]
    begun = at_once(8, lambda number: gateways[number % 2].add_transfer(new_transfer(f"t{number}", "r")).id)
    assert len(set(begun)) == 1
    assert [each.id for each in gateways[0].all_transfers()] == begun[:1]
    for gateway in gateways:
        gateway.close()


def test_of_racing_performers_with_one_name_one_is_kept(url: str) -> None:
    gateways = [Database(url) for _ in range(2)]

    def save(number: int) -> bool:
        try:
            gateways[number % 2].save_performer(performer(f"p{number}", "alice"))
        except Conflict:
            return False
        return True

    assert sum(at_once(8, save)) == 1
    assert len(gateways[1].all_performers()) == 1
    for gateway in gateways:
        gateway.close()


def test_gateways_that_start_at_once_make_the_tables_once(url: str) -> None:
    for gateway in at_once(6, lambda _: Database(url)):
        gateway.ping()
        gateway.close()


def test_a_gateway_that_starts_while_another_begins_the_file_waits_for_it(tmp_path: Path) -> None:
    """SQLite's busy timeout does not hold for the turn to WAL: it refuses at once."""
    path = tmp_path / "gateway.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as thread:
        other.execute("BEGIN IMMEDIATE")
        starting = thread.submit(Database, f"sqlite:///{path}")
        with pytest.raises(TimeoutError):
            starting.result(timeout=0.5)
        other.execute("COMMIT")
        starting.result().close()


def test_racing_writes_of_one_thing_end_in_one_of_them(url: str) -> None:
    gateways = [Database(url) for _ in range(2)]
    at_once(8, lambda number: gateways[number % 2].save_stage_rate("pose", float(number)))
    at_once(8, lambda number: gateways[number % 2].save_clip(Clip(id="c", display_name=str(number))))
    assert gateways[0].stage_rates()["pose"] in {float(number) for number in range(8)}
    assert len(gateways[0].clips(50, "")[0]) == 1
    for gateway in gateways:
        gateway.close()


def test_rates_are_replaced(database: Database) -> None:
    database.save_stage_rate("pose", 1.0)
    database.save_stage_rate("pose", 0.5)
    assert database.stage_rates() == {"pose": 0.5}


def test_what_is_saved_outlives_the_process(url: str) -> None:
    first = Database(url)
    first.save_clip(Clip(id="kept"))
    first.close()
    second = Database(url)
    assert second.clip("kept").id == "kept"
    second.close()


@pytest.mark.parametrize("bad", ["mysql://user@host/name", "no url", "", "redis://host"])
def test_other_databases_are_refused(bad: str) -> None:
    with pytest.raises(InvalidOption, match="sqlite:///path or postgresql://"):
        checked_url(bad)


def test_the_drivers_may_be_left_out_of_the_url() -> None:
    for given in ("postgres://user@host/name", "postgresql://user@host/name", "postgresql+psycopg://user@host/name"):
        assert str(checked_url(given)) == "postgresql+psycopg://user@host/name"


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with required_server() as server:
        yield server


def test_idle_connections_outlive_a_restart_of_the_server(own_server: PostgresServer) -> None:
    database = Database(own_server.new_database())
    at_once(4, lambda number: database.save_clip(Clip(id=str(number))))
    own_server.stop()
    own_server.start()
    assert len(at_once(4, lambda number: database.clip(str(number)))) == 4
    database.close()


async def test_a_server_that_is_away_is_unavailable_and_waited_for(own_server: PostgresServer) -> None:
    database = Database(own_server.new_database())
    database.save_clip(Clip(id="kept"))
    own_server.stop()
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        database.clip("kept")
    assert caught.value.retryable
    assert own_server.secret not in caught.value.message
    with pytest.raises(StoreUnavailable):
        await patiently(0.5, database.clip, "kept")
    waiting = asyncio.create_task(patiently(60, database.clip, "kept"))
    await asyncio.sleep(1.5)
    assert not waiting.done()
    await asyncio.to_thread(own_server.start)
    assert (await waiting).id == "kept"
    database.close()
