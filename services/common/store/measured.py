"""An object store that tells how long each of its operations took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from services.common.errors import ObjectNotFound
from services.common.store.base import ObjectInfo, ObjectStore

Observe = Callable[[str, str, float], None]
"""(operation, outcome, seconds); outcome: ok, missing or failed."""


class MeasuredStore:
    """The store `inner`, observed. `observe` may be set at any time and is called from any thread."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.observe: Observe = lambda _operation, _outcome, _seconds: None

    def put(self, key: str, data: bytes) -> None:
        with self._timed("put"):
            self.inner.put(key, data)

    def put_file(self, key: str, path: Path) -> None:
        with self._timed("put"):
            self.inner.put_file(key, path)

    def put_new(self, key: str, data: bytes) -> bool:
        with self._timed("put"):
            return self.inner.put_new(key, data)

    def get(self, key: str) -> bytes:
        with self._timed("get"):
            return self.inner.get(key)

    def get_range(self, key: str, first_byte: int, byte_count: int) -> bytes:
        with self._timed("get"):
            return self.inner.get_range(key, first_byte, byte_count)

    def get_file(self, key: str, path: Path) -> None:
        with self._timed("get"):
            self.inner.get_file(key, path)

    def stat(self, key: str) -> ObjectInfo | None:
        with self._timed("stat"):
            return self.inner.stat(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.inner.list(prefix)  # lasts as long as the caller looks at what it finds

    def delete(self, key: str) -> None:
        with self._timed("delete"):
            self.inner.delete(key)

    def presigned_url(self, key: str, expires_seconds: int) -> str:
        return self.inner.presigned_url(key, expires_seconds)

    def ping(self) -> None:
        with self._timed("ping"):
            self.inner.ping()

    @contextlib.contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = "ok"
        except ObjectNotFound:
            outcome = "missing"
            raise
        finally:
            self.observe(operation, outcome, time.monotonic() - began)
