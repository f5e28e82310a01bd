"""Objects as files under one folder: the embedded default.

A put writes a temporary file, flushes it to the disk (fsync), renames it into place and flushes the folder, so a
crash leaves the old object, the new one, or a stray temporary file, never half an object. A create-only put uses
link(2), which refuses an existing name: exactly one of racing writers wins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from services.common.errors import InvalidOption, ObjectNotFound, StoreUnavailable
from services.common.store.base import ObjectInfo, checked_key, checked_prefix
from services.common.store.disk import disk_errors

_TEMPORARY = ".tmp"  # no key begins with a dot
_PLACE_TRIES = 32


class FileObjectStore:
    """An `ObjectStore` under `root`, which is made when it is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        with disk_errors(self._root):
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
        with self._reading(key) as path:
            return path.read_bytes()

    def get_range(self, key: str, first_byte: int, byte_count: int) -> bytes:
        with self._reading(key) as path, path.open("rb") as file:
            file.seek(first_byte)
            return file.read(max(0, byte_count))

    def get_file(self, key: str, path: Path) -> None:
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_TEMPORARY}")
        try:
            with self._reading(key) as source:
                file = source.open("rb")
            with file, disk_errors(path.parent):
                with part.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            with self._reading(key) as path:
                status = path.stat()
                if stat.S_ISDIR(status.st_mode):  # a folder of objects is none
                    return None
        except ObjectNotFound:
            return None
        return ObjectInfo(key, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        keys: list[str] = []
        top = self._root / checked_prefix(prefix).rpartition("/")[0]
        with disk_errors(self._root):
            for folder, folders, names in os.walk(top, onerror=_unless_gone):
                inside = Path(folder).relative_to(self._root)
                folders[:] = [name for name in folders if not name.startswith(".")]
                found = ((inside / name).as_posix() for name in names if not name.startswith("."))
                keys.extend(key for key in found if key.startswith(prefix))
        if not keys:
            self._check_root()
        for key in sorted(keys):
            with contextlib.suppress(FileNotFoundError):  # deleted while we list
                status = (self._root / key).stat()
                yield ObjectInfo(key, status.st_size, status.st_mtime)

    def delete(self, key: str) -> None:
        path = self.path(key)
        with contextlib.suppress(ObjectNotFound), self._reading(key):
            path.unlink()
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
        with disk_errors(self._root):
            try:
                probe.write_bytes(b"")
            except FileNotFoundError as error:
                raise StoreUnavailable(f"the store's folder {self._root} is gone", path=self._root) from error
            probe.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        try:
            with disk_errors(self._root):
                try:
                    yield self.path(key)
                except (NotADirectoryError, IsADirectoryError) as error:
                    raise FileNotFoundError(key) from error
        except FileNotFoundError:
            self._check_root()
            raise ObjectNotFound(f"no object {key!r} in the store", key=key) from None

    def _check_root(self) -> None:
        """A store whose folder is gone must not look like an empty one."""
        if not self._root.is_dir():
            raise StoreUnavailable(f"the store's folder {self._root} is gone", path=self._root)

    def _write(self, key: str, fill: Callable[[BinaryIO], object], place: Callable[[Path, Path], None]) -> None:
        destination = self.path(key)
        part = self._root / _TEMPORARY / uuid.uuid4().hex
        try:
            with disk_errors(self._root):
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
        for _ in range(_PLACE_TRIES):  # concurrent deletes remove empty folders, at any moment of these
            try:
                destination.parent.mkdir(parents=True, exist_ok=True)
                if destination.is_dir():
                    raise _inside_object(destination)
                place(part, destination)
            except FileNotFoundError:
                continue
            except (FileExistsError, IsADirectoryError, NotADirectoryError):
                if destination.is_file():
                    raise  # a create-only put has lost
                if any(folder.is_file() for folder in destination.parents):
                    raise _inside_object(destination) from None
                continue  # mkdir met a folder that was gone when it looked again
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


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _inside_object(path: Path) -> InvalidOption:
    return InvalidOption(f"not a usable object key: {path} is an object and the folder of others", path=path)
