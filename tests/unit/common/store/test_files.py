"""What files alone promise: places, strays, and keys that collide with folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import InvalidOption, StoreUnavailable
from services.common.store import FileObjectStore


@pytest.fixture
def store(tmp_path: Path) -> FileObjectStore:
    return FileObjectStore(tmp_path / "store")


def test_an_object_is_a_file_of_its_name(store: FileObjectStore, tmp_path: Path) -> None:
    store.put("a/b.bin", b"data")
    assert store.path("a/b.bin") == tmp_path / "store" / "a" / "b.bin"
    assert store.path("a/b.bin").read_bytes() == b"data"


def test_writes_leave_no_temporary_files(store: FileObjectStore, tmp_path: Path) -> None:
    store.put("a", b"1")
    store.put_new("a", b"2")
    store.put_new("b", b"3")
    store.ping()
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []


def test_strays_of_a_crash_and_hidden_files_are_not_objects(store: FileObjectStore, tmp_path: Path) -> None:
    store.put("a/b", b"data")
    (tmp_path / "store" / ".tmp" / "stray").write_bytes(b"half")
    (tmp_path / "store" / ".DS_Store").write_bytes(b"")
    (tmp_path / "store" / "a" / ".nfs0001").write_bytes(b"")
    assert [info.key for info in store.list("")] == ["a/b"]
    assert [info.key for info in store.list("a/")] == ["a/b"]


def test_a_key_that_is_a_folder_is_refused(store: FileObjectStore) -> None:
    store.put("a/b", b"data")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(InvalidOption, match="not a usable object key"):
            store.put(key, b"new")
        with pytest.raises(InvalidOption, match="not a usable object key"):
            store.put_new(key, b"new")
    assert [info.key for info in store.list("")] == ["a/b"]


def test_deleting_the_last_object_removes_its_folders(store: FileObjectStore, tmp_path: Path) -> None:
    store.put("a/b/c/d", b"")
    store.put("a/e", b"")
    store.delete("a/b/c/d")
    assert not (tmp_path / "store" / "a" / "b").exists()
    store.delete("a/e")
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".tmp"]


def test_ping_says_when_the_folder_is_gone(store: FileObjectStore, tmp_path: Path) -> None:
    store.ping()
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="is gone"):
        store.ping()
    assert not (tmp_path / "store").exists()


def test_two_stores_of_one_folder_are_one(store: FileObjectStore, tmp_path: Path) -> None:
    other = FileObjectStore(tmp_path / "store")
    assert store.put_new("a", b"first")
    assert not other.put_new("a", b"second")
    assert other.get("a") == b"first"
