"""Logs are JSON lines on stderr that carry the call's context; spans reach a collector when there is one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

PROGRAM = """
import logging, sys, threading
import structlog
from services.common.telemetry import configure_logging, logger
log = logger("services.early")  # modules make theirs before anything is configured
configure_logging("pose", sys.argv[1], sys.argv[2])
log.debug("not asked for")
with structlog.contextvars.bound_contextvars(transfer_id="t-1", stage="pose", shard="7"):
    log.info("frames done", done=64)
    logging.getLogger("a.library").warning("from a %s", "library")
log.error("outside")
thread = threading.Thread(target=lambda: log.error("in a thread"))
thread.start()
thread.join()
try:
    raise ValueError("two\\nlines \\u00e4")
except ValueError:
    log.exception("it failed")
logging.getLogger("httpx").info("chatter")
"""


def lines(repository: Path, log_format: str, log_level: str = "info") -> list[str]:
    command = [sys.executable, "-c", PROGRAM, log_format, log_level]
    done = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True, timeout=50)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_line_is_json_with_the_calls_context(repository: Path) -> None:
    records: list[dict[str, Any]] = [json.loads(line) for line in lines(repository, "json")]
    assert [record["event"] for record in records] == [
        "frames done",
        "from a library",
        "outside",
        "in a thread",
        "it failed",
    ]
    assert [record["level"] for record in records] == ["info", "warning", "error", "error", "error"]
    assert all(record["service"] == "pose" for record in records)
    assert all(record["timestamp"].endswith("Z") for record in records)
    context = {"transfer_id": "t-1", "stage": "pose", "shard": "7"}
    for record in records[:2]:
        assert context.items() <= record.items()
    assert not context.keys() & records[2].keys()
    assert records[0]["done"] == 64
    assert records[0]["logger"] == "services.early"
    assert "ValueError: two\nlines ä" in records[4]["exception"]


def test_the_level_decides(repository: Path) -> None:
    assert len(lines(repository, "json", "error")) == 3
    assert len(lines(repository, "json", "debug")) > 4


def test_people_may_read_it_too(repository: Path) -> None:
    text = "\n".join(lines(repository, "console"))
    assert "frames done" in text
    assert "transfer_id" in text


TRACED = """
import sys
from opentelemetry import trace
from services.common.telemetry import configure_tracing
configure_tracing("pose", sys.argv[1])
with trace.get_tracer("understudy").start_as_current_span("EstimatePoses"):
    pass
provider = trace.get_tracer_provider()
if hasattr(provider, "shutdown"):
    provider.shutdown()
"""


def test_spans_go_to_the_collector_when_there_is_one(repository: Path) -> None:
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests say what they need themselves."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/v1/traces"
            for endpoint in (address, ""):
                subprocess.run([sys.executable, "-c", TRACED, endpoint], cwd=repository, check=True, timeout=50)
        finally:
            server.shutdown()
            thread.join()
    assert len(received) == 1
    assert b"EstimatePoses" in received[0]
    assert b"understudy-pose" in received[0]
