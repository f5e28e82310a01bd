"""Another gateway process, beside the one that a stack runs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.cli.client import GatewayClient


@contextlib.contextmanager
def gateway_process(folder: Path, settings: Mapping[str, str]) -> Iterator[GatewayClient]:
    """A gateway with these UNDERSTUDY_* variables until the block ends; its log is gateway.log in `folder`."""
    ports = {"UNDERSTUDY_HTTP_PORT": "0", "UNDERSTUDY_LISTEN_PORT": "0"}
    with (folder / "gateway.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            env={**os.environ, **ports, **settings},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "gateway.log").read_text()[-3000:]
        client = GatewayClient(f"http://127.0.0.1:{json.loads(line)['http_port']}")
        try:
            yield client
        finally:
            client.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
