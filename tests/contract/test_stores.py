"""What every object store promises, on files, in memory and on a real MinIO."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import httpx
import pytest

from services.common.errors import InvalidOption, ObjectNotFound
from services.common.store import ObjectStore
from tests.support.stores import keys

WRITERS = 32


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4096], ids=["empty", "one", "a megabyte"])
def test_what_is_put_is_got(store: ObjectStore, data: bytes) -> None:
    store.put("a/b/object-1.bin", data)
    assert store.get("a/b/object-1.bin") == data
    info = store.stat("a/b/object-1.bin")
    assert info is not None
    assert (info.key, info.size_bytes) == ("a/b/object-1.bin", len(data))
    assert info.modified_seconds > 0


def test_put_replaces(store: ObjectStore) -> None:
    store.put("object", b"a longer first")
    store.put("object", b"second")
    assert store.get("object") == b"second"
    assert keys(store, "") == ["object"]


def test_a_file_is_put_and_got_whole(store: ObjectStore, tmp_path: Path) -> None:
    data = secrets.token_bytes(6 << 20)  # more than one part of a multipart upload
    (tmp_path / "from").write_bytes(data)
    store.put_file("folder/file", tmp_path / "from")
    store.get_file("folder/file", tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["from", "to"]


def test_get_file_replaces_whole_or_not_at_all(store: ObjectStore, tmp_path: Path) -> None:
    target = tmp_path / "to"
    target.write_bytes(b"before")
    with pytest.raises(ObjectNotFound):
        store.get_file("missing", target)
    assert target.read_bytes() == b"before"
    store.put("there", b"after")
    store.get_file("there", target)
    assert target.read_bytes() == b"after"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["to"]


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [(0, 4, b"0123"), (3, 4, b"3456"), (8, 10, b"89"), (10, 1, b""), (99, 5, b""), (0, 0, b""), (4, 0, b"")],
)
def test_ranges(store: ObjectStore, first: int, count: int, expected: bytes) -> None:
    store.put("digits", b"0123456789")
    assert store.get_range("digits", first, count) == expected


def test_ranges_of_an_empty_object(store: ObjectStore) -> None:
    store.put("empty", b"")
    assert store.get_range("empty", 0, 5) == b""


def test_missing_objects(store: ObjectStore, tmp_path: Path) -> None:
    reads: list[Callable[[], object]] = [
        lambda: store.get("missing/object"),
        lambda: store.get_range("missing/object", 0, 1),
        lambda: store.get_file("missing/object", tmp_path / "to"),
    ]
    for read in reads:
        with pytest.raises(ObjectNotFound, match="missing/object") as caught:
            read()
        assert caught.value.metadata["key"] == "missing/object"
    assert store.stat("missing/object") is None
    assert keys(store, "missing/") == []
    store.delete("missing/object")
    assert list(tmp_path.glob("to*")) == []


def test_a_folder_of_objects_is_no_object(store: ObjectStore) -> None:
    store.put("a/b/c", b"data")
    assert store.stat("a/b") is None
    assert store.stat("a/b/c/d") is None
    for key in ("a/b", "a/b/c/d"):
        with pytest.raises(ObjectNotFound):
            store.get(key)
        store.delete(key)
    assert store.get("a/b/c") == b"data"


def test_list_by_prefix_in_order(store: ObjectStore) -> None:
    names = ["a/b", "a-b", "a.b/c", "a/b.d/e", "a/c/d/e", "ab", "b", "a_", "A"]
    for name in names:
        store.put(name, name.encode())
    for prefix in ("", "a", "a/", "a/b", "a/c/", "a/c/d", "ab", "nothing", "a/nothing/"):
        assert keys(store, prefix) == sorted(name for name in names if name.startswith(prefix)), prefix
    assert [info.size_bytes for info in store.list("a/")] == [3, 7, 7]


def test_deleted_objects_are_gone(store: ObjectStore) -> None:
    store.put("a/b/1", b"1")
    store.put("a/b/2", b"2")
    store.delete("a/b/1")
    store.delete("a/b/1")
    assert store.stat("a/b/1") is None
    assert keys(store, "a/") == ["a/b/2"]
    store.delete("a/b/2")
    assert keys(store, "") == []
    store.put("a", b"the folder's name is free again")
    assert store.get("a") == b"the folder's name is free again"


def test_create_only_put(store: ObjectStore) -> None:
    assert store.put_new("a/manifest.json", b"first")
    assert not store.put_new("a/manifest.json", b"second")
    assert store.get("a/manifest.json") == b"first"
    store.put("a/other", b"put")
    assert not store.put_new("a/other", b"new")
    assert store.get("a/other") == b"put"
    store.delete("a/manifest.json")
    assert store.put_new("a/manifest.json", b"third")


@pytest.mark.parametrize("round_number", range(3))
def test_one_of_racing_writers_wins(store: ObjectStore, round_number: int) -> None:
    start = threading.Barrier(WRITERS)

    def write(writer: int) -> bool:
        start.wait()
        return store.put_new(f"race/{round_number}", f"writer {writer}".encode() * 100)

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(write, range(WRITERS)))
    assert won.count(True) == 1
    assert store.get(f"race/{round_number}") == f"writer {won.index(True)}".encode() * 100
    assert keys(store, "race/") == [f"race/{round_number}"]


def test_readers_never_see_half_of_a_replacement(store: ObjectStore) -> None:
    whole = {hashlib.sha256(bytes([value]) * 300_000).hexdigest() for value in range(8)}
    store.put("object", bytes([0]) * 300_000)
    writing = threading.Event()
    writing.set()

    def read() -> set[str]:
        seen = set()
        while writing.is_set():
            seen.add(hashlib.sha256(store.get("object")).hexdigest())
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for value in list(range(8)) * 4:
                store.put("object", bytes([value]) * 300_000)
        finally:
            writing.clear()
        for reader in readers:
            assert reader.result() <= whole


def test_objects_come_and_go_while_others_list(store: ObjectStore) -> None:
    store.put("churn/stays", b"")
    churning = threading.Event()
    churning.set()

    def churn(worker: int) -> None:
        while churning.is_set():
            store.put(f"churn/folder/{worker}/object", b"data")
            store.delete(f"churn/folder/{worker}/object")

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(churn, worker) for worker in range(4)]
        try:
            for _ in range(20):
                assert "churn/stays" in keys(store, "churn/")
        finally:
            churning.clear()
        for worker in workers:
            worker.result()


UNSAFE = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a/./b", ".tmp/a", ".hidden", "a/.hidden",
    "a\\b", "a b", "a\nb", "a\n", "a\0b", "ä", "a?b", "a#b", "a%2e", "~", "C:", "a" * 300, "a/" * 300 + "a",
]  # fmt: skip


@pytest.mark.parametrize("key", UNSAFE)
def test_unsafe_keys_are_refused(store: ObjectStore, key: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b"data"),
        lambda: store.put_file(key, tmp_path / "data"),
        lambda: store.put_new(key, b"data"),
        lambda: store.get(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.get_file(key, tmp_path / "to"),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.presigned_url(key, 60),
    ]
    for call in calls:
        with pytest.raises(InvalidOption):
            call()
    assert keys(store, "") == []


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", ".tmp/", "a//"])
def test_unsafe_prefixes_are_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(InvalidOption):
        list(store.list(prefix))


def test_presigned_url_reads_without_credentials(store: ObjectStore) -> None:
    store.put("a/shared", b"for whoever has the address")
    url = store.presigned_url("a/shared", 60)
    match urlsplit(url).scheme:
        case "http":
            assert httpx.get(url, trust_env=False).content == b"for whoever has the address"
            assert httpx.get(url.partition("?")[0], trust_env=False).status_code == httpx.codes.FORBIDDEN
        case "file":
            with urlopen(url) as answer:
                assert answer.read() == b"for whoever has the address"
        case scheme:
            assert scheme == "memory"  # an address within this process alone


def test_ping(store: ObjectStore) -> None:
    store.ping()
    assert keys(store, "") == []
