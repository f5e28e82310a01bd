"""What every object store does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from services.common.errors import InvalidOption

_SAFE_PART: Final = r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*"
_SAFE_KEY: Final = re.compile(rf"{_SAFE_PART}(/{_SAFE_PART})*")
_LONGEST_KEY: Final = 512
_LONGEST_PART: Final = 200  # file systems take 255 bytes; temporary files add to the name


def checked_key(key: str) -> str:
    """The key itself when it is safe on every store; raises InvalidOption for anything that could climb or hide."""
    longest = max(len(part) for part in key.split("/"))
    if not _SAFE_KEY.fullmatch(key) or len(key) > _LONGEST_KEY or longest > _LONGEST_PART:
        raise InvalidOption(f"not a usable object key: {key!r}", key=key)
    return key


def checked_prefix(prefix: str) -> str:
    """The prefix itself when keys can start with it; raises InvalidOption otherwise."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object. modified_seconds counts from the Unix epoch."""

    key: str
    size_bytes: int
    modified_seconds: float


@runtime_checkable
class ObjectStore(Protocol):
    """Objects by key; keys are relative paths with `/`, and no key is the folder of another.

    Every call raises StoreUnavailable when the store does not answer, Forbidden when it refuses, StorageFull when
    there is no room (on the local disk too, for calls that write a local file) and InvalidOption for a key that is
    not usable; calls that read raise ObjectNotFound.
    """

    def put(self, key: str, data: bytes) -> None:
        """Stores `data`; an object of that key is replaced, in one step that readers never see half of."""

    def put_file(self, key: str, path: Path) -> None:
        """Stores the file's bytes, like `put`, without holding them in memory."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Create-only put. False, and nothing changed, when the key is taken: of racing writers one gets True."""

    def get(self, key: str) -> bytes:
        """All bytes of the object."""

    def get_range(self, key: str, first_byte: int, byte_count: int) -> bytes:
        """`byte_count` bytes from `first_byte` on, both at least 0; fewer, or none, at the object's end."""

    def get_file(self, key: str, path: Path) -> None:
        """Copies the object to `path`, which appears whole or not at all."""

    def stat(self, key: str) -> ObjectInfo | None:
        """None when there is no such object."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, by key."""

    def delete(self, key: str) -> None:
        """Removes the object; nothing happens when there is none."""

    def presigned_url(self, key: str, expires_seconds: int) -> str:
        """An address from which the object can be read without credentials until it expires."""

    def ping(self) -> None:
        """Returns when the store answers and may be written; raises StoreUnavailable or Forbidden."""
