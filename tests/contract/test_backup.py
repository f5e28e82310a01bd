"""Backup and restore, as deploy/runbook.md writes them down: pg_dump and a copy of the bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway.database import Database
from gateway.keys import Keys
from gateway.resources import Clip, ClipUse, Ref, State, Transfer
from services.common.artifacts import Artifacts, Recipe
from services.common.store import FileObjectStore, ObjectStore, open_store
from services.common.store.mirror import mirror
from tests.support.minio import MinioServer
from tests.support.postgres import PostgresServer

RECIPE = Recipe("plate", "test", 1)


def copied(server: MinioServer, source: str, destination: str) -> str:
    credentials = {
        "UNDERSTUDY_STORE_ACCESS_KEY": server.access_key,
        "UNDERSTUDY_STORE_SECRET_KEY": server.secret_key,
    }
    command = [sys.executable, "-m", "services.common.store.mirror", source, destination]
    done = subprocess.run(command, env=os.environ | credentials, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_restored_copy_has_everything(
    postgres_server: PostgresServer, minio_server: MinioServer, tmp_path: Path
) -> None:
    url, store_url = postgres_server.new_database(), minio_server.store_url(minio_server.new_bucket())
    database = Database(url)
    artifacts = Artifacts(open_store(store_url, minio_server.access_key, minio_server.secret_key), tmp_path / "cache")
    writer = artifacts.write(RECIPE)
    writer.put_bytes("plate.png", b"pixels")
    artifacts.commit(writer, {"made": True})
    artifacts.store.put(f"uploads/{'a' * 64}", b"video")
    database.save_clip(Clip(id="c", upload_sha256="a" * 64))
    ended = Transfer(
        id="t", source=ClipUse(clip_id="c"), state=State.SUCCEEDED, artifacts=[Ref(kind="plate", key=RECIPE.key)]
    )
    database.add_transfer(ended)
    _, text = Keys(database.engine).create("alice", ["read"])
    database.close()

    dump = postgres_server.dump(url, tmp_path / "understudy.dump")
    backup = (tmp_path / "backup").as_uri()
    assert copied(minio_server, store_url, backup) == "3 objects copied, 0 were there\n"
    assert copied(minio_server, store_url, backup) == "0 objects copied, 3 were there\n"

    restored_url, bucket = postgres_server.new_database(), minio_server.store_url(minio_server.new_bucket())
    postgres_server.restore(dump, restored_url)
    copied(minio_server, backup, bucket)
    restored = Database(restored_url)
    assert restored.transfer("t") == ended
    assert restored.clip("c").upload_sha256 == "a" * 64
    assert Keys(restored.engine).verify(text).name == "alice"
    assert restored.add_transfer(Transfer(id="t2", source=ClipUse(clip_id="c"))).id == "t2"  # sequences go on
    restored.close()
    again = Artifacts(open_store(bucket, minio_server.access_key, minio_server.secret_key), tmp_path / "cache2")
    assert again.open(RECIPE.ref).read_bytes("plate.png") == b"pixels"
    assert again.store.get(f"uploads/{'a' * 64}") == b"video"


class _CutOff(FileObjectStore):
    """Takes only so many objects."""

    left = 1

    def put_file(self, key: str, path: Path) -> None:
        if not self.left:
            raise OSError("cut off")
        self.left -= 1
        super().put_file(key, path)


def test_a_copy_that_is_cut_off_holds_no_half_artifact(artifacts: Artifacts, tmp_path: Path) -> None:
    writer = artifacts.write(RECIPE)
    for name in ("a", "b"):
        writer.put_bytes(name, name.encode())
    artifacts.commit(writer, {})
    destination: ObjectStore = _CutOff(tmp_path / "copy")
    try:
        mirror(artifacts.store, destination)
    except OSError:
        assert Artifacts(destination, tmp_path / "cache").find(RECIPE.ref) is None
    else:
        raise AssertionError("it was not cut off")
    whole = FileObjectStore(tmp_path / "copy")
    assert mirror(artifacts.store, whole) == (2, 1)
    assert Artifacts(whole, tmp_path / "cache").open(RECIPE.ref).read_bytes("b") == b"b"
