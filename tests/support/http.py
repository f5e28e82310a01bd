"""A web server that misbehaves on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    files: Path
    stop: threading.Event

    def do_GET(self) -> None:
        """/file/NAME serves a file; every other path is one way to go wrong."""
        _, kind, *rest = self.path.split("/", 2)
        try:
            getattr(self, f"_{kind}")(*rest)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str) -> None:
        data = (self.files / name).read_bytes()
        self._answer(200, {"Content-Type": "video/mp4", "Content-Length": str(len(data))}, data)

    def _missing(self) -> None:
        self._answer(404, {"Content-Length": "0"})

    def _page(self) -> None:
        self._answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>no video here</html>")

    def _empty(self) -> None:
        self._answer(200, {"Content-Length": "0"})

    def _redirect(self, target: str) -> None:
        self._answer(302, {"Location": target, "Content-Length": "0"})

    def _loop(self) -> None:
        self._answer(302, {"Location": "/loop", "Content-Length": "0"})

    def _hang(self) -> None:
        self.stop.wait(30)

    def _drip(self) -> None:
        self._answer(200, {"Content-Type": "video/mp4"})
        while not self.stop.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _slowheader(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for index in range(1000):
            if self.stop.wait(0.05):
                return
            self.wfile.write(b"X-%d: y\r\n" % (index % 50) if index < 50 else b"y")
            self.wfile.flush()

    def _endless(self) -> None:
        self._answer(200, {"Content-Type": "video/mp4"})
        until = time.monotonic() + 30
        while time.monotonic() < until and not self.stop.is_set():
            self.wfile.write(b"\0" * 65536)

    def _broken(self) -> None:
        self._answer(200, {"Content-Type": "video/mp4", "Content-Length": "5000"}, b"x" * 1000)

    def _huge(self) -> None:
        self._answer(200, {"Content-Type": "video/mp4", "Content-Length": str(10**13)}, b"x")

    def _gzip(self) -> None:
        self._answer(200, {"Content-Type": "video/mp4", "Content-Encoding": "gzip", "Content-Length": "1"}, b"x")


@contextmanager
def web_server(files: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Address of a server on one of this machine's addresses; see `_Handler` for its paths."""
    stop = threading.Event()
    handler = type("Handler", (_Handler,), {"files": files, "stop": stop})
    server = ThreadingHTTPServer((host, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
