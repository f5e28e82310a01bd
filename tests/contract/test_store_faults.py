"""What every object store says when it cannot do what it is asked."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.common.errors import (
    Forbidden,
    InvalidOption,
    StorageFull,
    StoreUnavailable,
    UnderstudyError,
)
from services.common.store import ObjectStore, open_store
from tests.support import minio
from tests.support.minio import MinioServer
from tests.support.stores import keys
from tests.support.tmpfs import small_disk


def everything(store: ObjectStore, folder: Path) -> Iterator[Callable[[], object]]:
    (folder / "from").write_bytes(b"data")
    yield lambda: store.put("a/b", b"data")
    yield lambda: store.put_file("a/b", folder / "from")
    yield lambda: store.put_new("a/c", b"data")
    yield lambda: store.get("a/b")
    yield lambda: store.get_range("a/b", 0, 1)
    yield lambda: store.get_file("a/b", folder / "to")
    yield lambda: store.stat("a/b")
    yield lambda: list(store.list("a/"))
    yield lambda: store.delete("a/b")
    yield store.ping


def assert_all_raise(kind: type[UnderstudyError], store: ObjectStore, folder: Path) -> None:
    for call in everything(store, folder):
        with pytest.raises(kind):
            call()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["from"]


@pytest.mark.parametrize("wrong", ["access key", "secret key"])
def test_wrong_credentials_are_forbidden(minio_server: MinioServer, tmp_path: Path, wrong: str) -> None:
    url = minio_server.store_url(minio_server.new_bucket())
    credentials = {"access key": minio_server.access_key, "secret key": minio_server.secret_key}
    credentials[wrong] = secrets.token_hex(20)
    assert_all_raise(Forbidden, open_store(url, *credentials.values()), tmp_path)


def test_no_credentials_are_forbidden(minio_server: MinioServer) -> None:
    store = open_store(minio_server.store_url(minio_server.new_bucket()))
    with pytest.raises(Forbidden):
        store.get("a/b")
    with pytest.raises(Forbidden):
        store.put("a/b", b"data")


def test_a_server_that_is_down_is_unavailable(tmp_path: Path) -> None:
    assert_all_raise(StoreUnavailable, open_store("s3://127.0.0.1:9/bucket?secure=false", "key", "secret"), tmp_path)


def test_a_bucket_that_is_missing_is_unavailable(minio_server: MinioServer) -> None:
    store = open_store(minio_server.store_url("test-no-such-bucket"), minio_server.access_key, minio_server.secret_key)
    for call in (store.ping, lambda: store.get("a/b"), lambda: store.put("a/b", b""), lambda: list(store.list(""))):
        with pytest.raises(StoreUnavailable):
            call()


def test_a_folder_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    for stray in sorted((tmp_path / "store").rglob("*"), reverse=True):
        stray.rmdir()
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_bytes(b"somebody put a file here")
    (tmp_path / "folder").mkdir()
    assert_all_raise(StoreUnavailable, store, tmp_path / "folder")


def test_a_store_does_not_look_empty_when_its_folder_is_gone(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    store.put("object", b"data")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    for call in (lambda: store.get("object"), lambda: store.stat("object"), lambda: list(store.list(""))):
        with pytest.raises(StoreUnavailable, match="is gone"):
            call()


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        store = open_store((disk / "store").as_uri())
        store.put("kept", b"k" * 100_000)
        (tmp_path / "large").write_bytes(b"x" * (4 << 20))
        writes: list[Callable[[], object]] = [
            lambda: store.put("kept", b"x" * (4 << 20)),
            lambda: store.put_new("new", b"x" * (4 << 20)),
            lambda: store.put_file("kept", tmp_path / "large"),
        ]
        for write in writes:
            with pytest.raises(StorageFull, match="free some space"):
                write()
        assert store.get("kept") == b"k" * 100_000
        assert keys(store, "") == ["kept"]
        assert list((disk / "store" / ".tmp").iterdir()) == []
        store.put("small", b"there is room again")


def test_a_full_disk_where_an_object_is_copied_to(store: ObjectStore, tmp_path: Path) -> None:
    store.put("large", b"x" * (4 << 20))
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        with pytest.raises(StorageFull):
            store.get_file("large", disk / "to")
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_full_object_store(tmp_path: Path, *, in_parts: bool) -> None:
    if minio.reason_missing():
        pytest.skip(minio.reason_missing())
    with small_disk(tmp_path / "disk", megabytes=40) as disk, minio.running(disk) as server:
        store = open_store(server.store_url(server.new_bucket()), server.access_key, server.secret_key)
        store.put("kept", b"k" * 1000)
        data = secrets.token_bytes(8 << 20)
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(StorageFull, match="free some space"):
            for number in range(8):
                if in_parts:
                    store.put_file(f"large/{number}", tmp_path / "file")
                else:
                    store.put(f"large/{number}", data)
        with pytest.raises(StorageFull, match="free some space"):
            store.put_new("new", data)
        assert store.get("kept") == b"k" * 1000


LIMITED = """
import resource, sys
from pathlib import Path
from services.common.errors import StorageFull
from services.common.store import open_store
store = open_store(Path(sys.argv[1]).as_uri())
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store.put_new("large", b"x" * (2 << 20))
except StorageFull:
    store.put_new("small", b"x")
    sys.exit(0)
sys.exit(1)
"""


def test_a_write_that_the_system_cuts_short_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "store")]
    subprocess.run(command, cwd=repository, check=True, timeout=50)
    assert keys(open_store((tmp_path / "store").as_uri()), "") == ["small"]
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []


def test_a_disk_that_may_not_be_written_is_forbidden(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        store = open_store((disk / "store").as_uri())
        store.put("object", b"data")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for call in (store.ping, lambda: store.put("object", b"new"), lambda: store.delete("object")):
            with pytest.raises(Forbidden, match="may not write"):
                call()
        assert store.get("object") == b"data"
        with pytest.raises(Forbidden):
            open_store((disk / "another").as_uri())


@pytest.mark.parametrize(
    "url", ["", "store", "/store", "ftp://host/x", "s3://", "s3://host", "s3:///bucket", "file://"]
)
def test_addresses_that_name_no_store(url: str) -> None:
    with pytest.raises(InvalidOption, match="UNDERSTUDY_STORE_URL"):
        open_store(url)


def test_two_prefixes_of_one_bucket_are_apart(minio_server: MinioServer) -> None:
    base = f"s3://{minio_server.host}/{minio_server.new_bucket()}"
    one, two = (
        open_store(f"{base}/{name}?secure=false", minio_server.access_key, minio_server.secret_key)
        for name in ("one", "on")
    )
    one.put("e/object", b"one")
    assert keys(two, "") == []
    assert keys(one, "") == ["e/object"]
    assert two.stat("e/object") is None
