"""An object store that is busy or slow: a proxy before a real one, for as long as a test wants it.

    python unreliable.py HOST:PORT LISTEN_PORT BUSY_SECONDS BUSY_SHARE DELAY_SECONDS BYTES_A_SECOND

For BUSY_SECONDS from its first request every request is answered with 503 SlowDown, as S3 does when it is asked too
much; after that BUSY_SHARE of them are, and the rest reach the store, each DELAY_SECONDS late, both ways no faster
than BYTES_A_SECOND. Python's own library alone: it runs inside any image that has Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from dataclasses import dataclass, field

_CHUNK_BYTES = 1 << 16
_BUSY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate</Message></Error>"
)
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
) % (len(_BUSY), _BUSY)


@dataclass
class Unreliable:
    """`refused` and `passed` count requests."""

    upstream: tuple[str, int]
    busy_seconds: float
    busy_share: float
    delay_seconds: float
    bytes_a_second: float
    began: float | None = None
    refused: int = 0
    passed: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def refuses(self) -> bool:
        """Whether the next request is answered with 503. The share is met exactly, not by chance."""
        now = time.monotonic()
        self.began = self.began or now
        if now - self.began < self.busy_seconds:
            return True
        number = next(self._numbers)
        return int((number + 1) * self.busy_share) > int(number * self.busy_share)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; its connection is closed after the answer, so that each request is decided on by itself."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = _content_length(head)
            if self.refuses():
                self.refused += 1
                await _discard(reader, length)
                writer.write(_ANSWER)
                await writer.drain()
            else:
                self.passed += 1
                await asyncio.sleep(self.delay_seconds)
                await self._pass_on(head, length, reader, writer)
        writer.close()

    async def _pass_on(
        self, head: bytes, length: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        store_reader, store_writer = await asyncio.open_connection(*self.upstream)
        first, _, rest = head.partition(b"\r\n")
        kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        store_writer.write(b"\r\n".join([first, b"Connection: close", *kept]))
        await self._copy(reader, store_writer, length)
        await self._copy(store_reader, writer, -1)
        store_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
        """`length` bytes, or all that comes where it is negative."""
        left = length
        while left:
            data = await reader.read(_CHUNK_BYTES if left < 0 else min(left, _CHUNK_BYTES))
            if not data:
                return
            left -= len(data) if left > 0 else 0
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(len(data) / self.bytes_a_second)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _discard(reader: asyncio.StreamReader, length: int) -> None:
    while length > 0:
        data = await reader.read(min(length, _CHUNK_BYTES))
        if not data:
            return
        length -= len(data)


async def _main(given: list[str]) -> None:
    host, _, port = given[0].rpartition(":")
    busy_seconds, busy_share, delay_seconds, bytes_a_second = map(float, given[2:])
    proxy = Unreliable((host, int(port)), busy_seconds, busy_share, delay_seconds, bytes_a_second)
    server = await asyncio.start_server(proxy.serve, "0.0.0.0", int(given[1]))
    async with server:
        while True:
            await asyncio.sleep(1)
            sys.stdout.write(f"{proxy.refused} {proxy.passed}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
