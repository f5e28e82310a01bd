"""A small DNS server for tests: one name, whose addresses change while it runs."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator


class Names:
    """Answers A questions for any name with `addresses`; everything else is empty."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.addresses: list[str] = []

    def target(self, port: int) -> str:
        """What a gRPC channel is opened with."""
        return f"dns://127.0.0.1:{self.port}/pose.test:{port}"

    def answer(self, question: bytes) -> bytes:
        end = question.index(b"\0", 12) + 5  # the name, its type and its class
        kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
        found = list(self.addresses) if kind == 1 else []
        head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, len(found), 0, 0)
        records = (b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(each) for each in found)
        return head + question[12:end] + b"".join(records)


@contextlib.contextmanager
def naming() -> Iterator[Names]:
    """A server on loopback until the block ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        names = Names(server.getsockname()[1])
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    question, sender = server.recvfrom(2048)
                    server.sendto(names.answer(question), sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield names
        finally:
            stop.set()
            thread.join()
