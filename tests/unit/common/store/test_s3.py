"""The S3 store against answers that a healthy MinIO does not give, from a real HTTP server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.common.errors import Forbidden, Internal, StorageFull, StoreUnavailable, UnderstudyError
from services.common.store import ObjectStore, open_store

Answer = tuple[int, bytes]


def error_body(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>m</Message></Error>'.encode()


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[ObjectStore, list[tuple[str, str | None]]]]:
    """A store whose server gives these answers in turn, the last one for ever; and what it was asked."""
    asked: list[tuple[str, str | None]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.headers.get("If-None-Match")))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Tests say what they need themselves."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield open_store(f"s3://127.0.0.1:{server.server_port}/bucket?secure=false", "key", "secret"), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("code", ["NoSuchUpload", "IncompleteBody"])
def test_a_server_that_is_confused_when_it_is_full_is_asked_again(tmp_path: Path, code: str) -> None:
    (tmp_path / "file").write_bytes(b"data")
    confused, full = (400, error_body(code)), (507, error_body("XMinioStorageFull"))
    writes: list[Callable[[ObjectStore], object]] = [
        lambda store: store.put("a", b"data"),
        lambda store: store.put_file("a", tmp_path / "file"),
        lambda store: store.put_new("a", b"data"),
    ]
    for write in writes:
        with answering(confused, full) as (store, asked), pytest.raises(StorageFull):
            write(store)
        assert [method for method, _ in asked] == ["PUT", "PUT"]
        with answering(confused, (200, b"")) as (store, asked):
            write(store)
        with answering(confused) as (store, asked), pytest.raises(UnderstudyError):
            write(store)
        assert 2 < len(asked) < 10


def test_a_create_only_put_says_so_on_the_wire() -> None:
    with answering((200, b"")) as (store, asked):
        assert store.put_new("a", b"data")
        assert asked == [("PUT", "*")]


def test_an_undecided_conflict_is_asked_again() -> None:
    conflict = (409, error_body("ConditionalRequestConflict"))
    with answering(conflict, conflict, (200, b"")) as (store, asked):
        assert store.put_new("a", b"data")
        assert len(asked) == 3
    with answering(conflict, (412, error_body("PreconditionFailed"))) as (store, asked):
        assert not store.put_new("a", b"data")
    with answering(conflict) as (store, asked), pytest.raises(StoreUnavailable):
        store.put_new("a", b"data")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((507, error_body("XMinioStorageFull")), StorageFull),
        ((400, error_body("QuotaExceeded")), StorageFull),
        ((403, error_body("AccessDenied")), Forbidden),
        ((403, error_body("InvalidAccessKeyId")), Forbidden),
        ((503, error_body("SlowDown")), StoreUnavailable),
        ((500, b"not xml"), StoreUnavailable),
        ((400, error_body("MalformedXML")), Internal),
    ],
)
def test_a_refused_create_only_put_is_asked_once(answer: Answer, kind: type[UnderstudyError]) -> None:
    with answering(answer) as (store, asked):
        with pytest.raises(kind):
            store.put_new("a", b"data")
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((507, error_body("XMinioStorageFull")), StorageFull),
        ((403, error_body("SignatureDoesNotMatch")), Forbidden),
        ((404, error_body("NoSuchBucket")), StoreUnavailable),
        ((400, error_body("SomethingNew")), StoreUnavailable),
        ((503, error_body("SlowDown")), StoreUnavailable),
        ((502, b"<html>a proxy's page</html>"), StoreUnavailable),
    ],
)
def test_other_refusals(answer: Answer, kind: type[UnderstudyError], tmp_path: Path) -> None:
    with answering(answer) as (store, _):
        calls: list[Callable[[], object]] = [
            lambda: store.put("a", b"data"),
            lambda: store.get("a"),
            lambda: store.get_file("a", tmp_path / "to"),
        ]
        for call in calls:
            with pytest.raises(kind):
                call()
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_cut_short_is_no_object(tmp_path: Path) -> None:
    class Cut(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *_: object) -> None:
            """Tests say what they need themselves."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Cut)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        store = open_store(f"s3://127.0.0.1:{server.server_port}/bucket?secure=false", "key", "secret")
        with pytest.raises(StoreUnavailable):
            store.get("a")
        with pytest.raises(StoreUnavailable):
            store.get_file("a", tmp_path / "to")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert list(tmp_path.iterdir()) == []
