"""API keys: kept as hashes, limited, rotated, over SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.database import Database
from gateway.keys import Keys
from gateway.resources import ClipUse, State, Transfer
from services.common.errors import InvalidOption, QuotaExceeded, ResourceNotFound, Unauthenticated
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'gateway.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database.engine)


def new_transfer(transfer_id: str, request_id: str = "") -> Transfer:
    return Transfer(id=transfer_id, request_id=request_id, source=ClipUse(clip_id="c"))


def test_a_key_is_known_by_its_text_which_is_kept_nowhere(keys: Keys, database: Database) -> None:
    key, text = keys.create("alice", ["write"])
    assert keys.verify(text) == key
    with database.engine.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM understudy_keys").all())
    assert key.id in rows
    assert text not in rows
    assert text.rpartition("_")[2] not in rows
    assert "sha256" not in str(keys.list()[0].public())


def test_anything_else_is_refused_in_one_way(keys: Keys) -> None:
    key, text = keys.create("alice", ["write"])
    other, _ = keys.create("bob", ["read"])
    secret = text.split("_", 2)[2]
    wrong = ["", "us", "us__", f"us_{key.id}_", f"us_{key.id}_{secret}x", f"us_{other.id}_{secret}",
             f"xx_{key.id}_{secret}", f"us_none_{secret}", "us__" + "0" * 64, f"us_{key.id}_{key.sha256}"]  # fmt: skip
    said = set()
    for each in wrong:
        with pytest.raises(Unauthenticated) as caught:
            keys.verify(each)
        said.add(caught.value.message)
    assert len(said) == 1


def test_scopes_contain_each_other(keys: Keys) -> None:
    read, write, admin = (keys.create(scope, [scope])[0] for scope in ("read", "write", "admin"))
    assert [read.allows(scope) for scope in ("read", "write", "admin")] == [True, False, False]
    assert [write.allows(scope) for scope in ("read", "write", "admin")] == [True, True, False]
    assert admin.allows("admin")
    for bad in ([], ["root"], ["read", "root"]):
        with pytest.raises(InvalidOption, match="read, write, admin"):
            keys.create("x", bad)


def test_a_rotated_key_keeps_its_old_secret_for_a_while(keys: Keys) -> None:
    key, old = keys.create("alice", ["write"], transfers_at_once=3)
    _, new = keys.rotate(key.id, 3600)
    assert keys.verify(old).id == keys.verify(new).id == key.id
    assert keys.verify(new).transfers_at_once == 3
    _, newest = keys.rotate(key.id, 0)
    for gone in (old, new):
        with pytest.raises(Unauthenticated):
            keys.verify(gone)
    assert keys.verify(newest).id == key.id


def test_a_revoked_key_is_gone(keys: Keys) -> None:
    key, text = keys.create("alice", ["read"])
    keys.revoke(key.id)
    with pytest.raises(Unauthenticated):
        keys.verify(text)
    with pytest.raises(ResourceNotFound):
        keys.revoke(key.id)
    with pytest.raises(ResourceNotFound):
        keys.rotate(key.id, 0)
    assert keys.list() == []


def test_transfers_at_once_are_limited_for_each_key(keys: Keys, database: Database) -> None:
    key, _ = keys.create("alice", ["write"], transfers_at_once=2)
    other, _ = keys.create("bob", ["write"])
    first = database.add_transfer(new_transfer("t1", "r"), key)
    database.add_transfer(new_transfer("t2"), key)
    with pytest.raises(QuotaExceeded, match="2 transfers under way"):
        database.add_transfer(new_transfer("t3"), key)
    assert database.add_transfer(new_transfer("t9", "r"), key).id == "t1"  # asked again, not one more
    assert len(database.all_transfers()) == 2
    database.add_transfer(new_transfer("t4"), other)
    first.state = State.SUCCEEDED
    database.save_transfer(first)
    database.add_transfer(new_transfer("t5"), key)
    database.delete_transfer("t1")


def test_racing_requests_do_not_pass_the_limit(keys: Keys, database: Database) -> None:
    key, _ = keys.create("alice", ["write"], transfers_at_once=3)
    start = threading.Barrier(8)

    def begin(number: int) -> bool:
        start.wait(20)
        try:
            database.add_transfer(new_transfer(f"t{number}"), key)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(8))) == 3
    assert len(database.active_transfers()) == 3


def test_uploads_are_limited_by_the_day(keys: Keys) -> None:
    key, _ = keys.create("alice", ["write"], upload_bytes_a_day=100)
    keys.count_upload(key, 60)
    with pytest.raises(QuotaExceeded, match="has uploaded 60"):
        keys.count_upload(key, 41)
    keys.count_upload(key, 40)
    assert keys.uploaded_today(key) == 100
    free, _ = keys.create("bob", ["write"])
    keys.count_upload(free, 1 << 40)
    keys.count_upload(free, 1 << 40)
    assert keys.uploaded_today(free) == 2 << 40
    with pytest.raises(QuotaExceeded):
        keys.count_upload(keys.create("carol", ["write"], upload_bytes_a_day=100)[0], 101)
