"""Plain tar (ustar, POSIX.1-1988), written the same way every time and read one member at a time.

Only what shards need: regular files with short ASCII names, no owner, time 0. The same members always give the same
bytes. The standard library's tarfile reads these files too; it is not used because it stops silently where an archive
is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.common.errors import DataCorrupted

_BLOCK = 512
_RECORD = 20 * _BLOCK
_MAX_MEMBER_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Member:
    """One file of an archive. `offset` is where its bytes begin."""

    name: str
    offset: int
    data: bytes


class TarWriter:
    """Writes members into an open binary file. `close` ends the archive; the file itself stays open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = 0

    def add(self, name: str, data: bytes) -> None:
        """`name` has at most 100 ASCII characters."""
        self._write(_header(name, len(data)) + data + bytes(-len(data) % _BLOCK))

    def close(self) -> None:
        self._write(bytes(2 * _BLOCK))
        self._write(bytes(-self._bytes % _RECORD))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._bytes += len(data)


def read_tar(path: Path) -> Iterator[Member]:
    """Members in order. Raises DataCorrupted when the archive is cut short or a header is damaged."""
    with path.open("rb") as file:
        offset = 0
        while True:
            header = file.read(_BLOCK)
            if header == bytes(_BLOCK):
                return
            name, size = _parse(header, path)
            data = file.read(size)
            padding = -size % _BLOCK
            if len(data) != size or len(file.read(padding)) != padding:
                raise DataCorrupted(f"{path.name} ends inside its member {name}", object=path.name, member=name)
            yield Member(name, offset + _BLOCK, data)
            offset += _BLOCK + size + padding


def _header(name: str, size: int) -> bytes:
    block = bytearray(_BLOCK)
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= 100 or not 0 <= size <= _MAX_MEMBER_BYTES:
        raise ValueError(f"a member cannot be called {name!r} and have {size} bytes")
    block[0 : len(encoded)] = encoded
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = b"0"
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _parse(header: bytes, path: Path) -> tuple[str, int]:
    try:
        if len(header) != _BLOCK:
            raise ValueError("the archive has no end")
        summed = sum(header[:148]) + 8 * 32 + sum(header[156:])
        if int(header[148:156].strip(b"\0 "), 8) != summed or header[257:262] != b"ustar":
            raise ValueError("a header's checksum is wrong")
        name = header[:100].rstrip(b"\0").decode("ascii")
        size = int(header[124:136].strip(b"\0 "), 8)
        if not 0 <= size <= _MAX_MEMBER_BYTES:
            raise ValueError(f"a member claims {size} bytes")
    except ValueError as error:
        raise DataCorrupted(f"{path.name} is damaged: {error}", object=path.name) from error
    return name, size
