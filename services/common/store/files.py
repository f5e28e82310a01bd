"""Objects as files under one folder: the embedded default.

A put writes a temporary file, flushes it to the disk (fsync), renames it into place and flushes the folder, so a
crash leaves the old object, the new one, or a stray temporary file, never half an object. A create-only put uses
link(2), which refuses an existing name: exactly one of racing writers wins.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from services.common.errors import Forbidden, ObjectNotFound, StorageFull, StoreUnavailable
from services.common.store.base import ObjectInfo, checked_key

_TEMPORARY = ".tmp"


@contextlib.contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(
                f"no room left under {root}: free some space (`understudy clips delete`, `understudy transfers "
                "delete`) or choose another folder with --home, then run the same command again",
                path=root,
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise Forbidden(f"may not write under {root}: {error.strerror}", path=root) from error
        raise StoreUnavailable(f"the store under {root} does not answer: {error}", path=root) from error


class FileObjectStore:
    """An `ObjectStore` under `root`, which is made when it is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        with _translated(self._root):
            (self._root / _TEMPORARY).mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the object's bytes are, for readers on the same machine; never write there."""
        return self._root / checked_key(key)

    def put(self, key: str, data: bytes) -> None:
        self._write(key, lambda file: file.write(data), os.replace)

    def put_file(self, key: str, path: Path) -> None:
        def copy(file: BinaryIO) -> None:
            with path.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)

        self._write(key, copy, os.replace)

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            self._write(key, lambda file: file.write(data), os.link)
        except FileExistsError:
            return False
        return True

    def get(self, key: str) -> bytes:
        try:
            with _translated(self._root):
                return self.path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(key) from None

    def get_range(self, key: str, first_byte: int, byte_count: int) -> bytes:
        try:
            with _translated(self._root), self.path(key).open("rb") as file:
                file.seek(first_byte)
                return file.read(byte_count)
        except FileNotFoundError:
            raise _missing(key) from None

    def get_file(self, key: str, path: Path) -> None:
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_TEMPORARY}")
        try:
            with _translated(self._root):
                shutil.copyfile(self.path(key), part)
                os.replace(part, path)
        except FileNotFoundError:
            raise _missing(key) from None
        finally:
            part.unlink(missing_ok=True)

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            with _translated(self._root):
                status = self.path(key).stat()
        except FileNotFoundError:
            return None
        return ObjectInfo(key, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = self._root / prefix.rpartition("/")[0]
        for path in sorted(folder.rglob("*")):
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix) and not key.startswith(_TEMPORARY):
                with contextlib.suppress(FileNotFoundError):  # deleted while we list
                    status = path.stat()
                    if path.is_file():
                        yield ObjectInfo(key, status.st_size, status.st_mtime)

    def delete(self, key: str) -> None:
        path = self.path(key)
        with _translated(self._root):
            path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty: others live there
                return

    def presigned_url(self, key: str, expires_seconds: int) -> str:
        del expires_seconds  # a local file's address does not expire
        return self.path(key).as_uri()

    def ping(self) -> None:
        probe = self._root / _TEMPORARY / f"ping-{uuid.uuid4().hex}"
        with _translated(self._root):
            try:
                probe.write_bytes(b"")
            except FileNotFoundError as error:
                raise StoreUnavailable(f"the store's folder {self._root} is gone", path=self._root) from error
            probe.unlink(missing_ok=True)

    def _write(self, key: str, fill: Callable[[BinaryIO], object], place: Callable[[Path, Path], None]) -> None:
        destination = self.path(key)
        part = self._root / _TEMPORARY / uuid.uuid4().hex
        try:
            with _translated(self._root):
                part.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(part, destination, place)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _place(self, part: Path, destination: Path, place: Callable[[Path, Path], None]) -> None:
        for _ in range(8):  # a concurrent delete may remove the empty folder between the two steps
            destination.parent.mkdir(parents=True, exist_ok=True)
            try:
                place(part, destination)
            except FileNotFoundError:
                continue
            _sync_folder(destination.parent)
            return
        raise StoreUnavailable(f"cannot place an object under {destination.parent}", path=destination.parent)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _missing(key: str) -> ObjectNotFound:
    return ObjectNotFound(f"no object {key!r} in the store", key=key)
