"""Objects in this process's memory: for tests of code that needs a store but not a disk."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from services.common.errors import ObjectNotFound
from services.common.store.base import ObjectInfo, checked_key, checked_prefix
from services.common.store.disk import disk_errors


class MemoryObjectStore:
    """An `ObjectStore` that is gone with the process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        with self._lock:
            self._objects[checked_key(key)] = (data, time.time())

    def put_file(self, key: str, path: Path) -> None:
        self.put(key, path.read_bytes())

    def put_new(self, key: str, data: bytes) -> bool:
        with self._lock:
            if checked_key(key) in self._objects:
                return False
            self._objects[key] = (data, time.time())
            return True

    def get(self, key: str) -> bytes:
        try:
            return self._objects[checked_key(key)][0]
        except KeyError:
            raise ObjectNotFound(f"no object {key!r} in the store", key=key) from None

    def get_range(self, key: str, first_byte: int, byte_count: int) -> bytes:
        return self.get(key)[first_byte : first_byte + max(0, byte_count)]

    def get_file(self, key: str, path: Path) -> None:
        data = self.get(key)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with disk_errors(path.parent):
                part.write_bytes(data)
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def stat(self, key: str) -> ObjectInfo | None:
        found = self._objects.get(checked_key(key))
        return None if found is None else ObjectInfo(key, len(found[0]), found[1])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted((key, len(data), when) for key, (data, when) in self._objects.items())
        start = checked_prefix(prefix)
        for key, size, when in found:
            if key.startswith(start):
                yield ObjectInfo(key, size, when)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(checked_key(key), None)

    def presigned_url(self, key: str, expires_seconds: int) -> str:
        return f"memory:///{checked_key(key)}?expires={expires_seconds}"

    def ping(self) -> None:
        """Memory always answers."""
