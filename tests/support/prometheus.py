"""A real Prometheus for tests: this machine's program, over a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest


def required_program(name: str) -> str:
    """Where it is. Without it the test fails in CI, and is skipped elsewhere."""
    found = shutil.which(name)
    if found is None:
        message = f"needs {name}: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@dataclass(frozen=True)
class Prometheus:
    """A running server on loopback."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query. Raises when Prometheus refuses it."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False)
        document = answer.json()
        assert document["status"] == "success", (expression, document)
        return list(document["data"]["result"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its health and its last error."""
        groups = httpx.get(f"{self.url}/api/v1/rules", trust_env=False).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextlib.contextmanager
def running(folder: Path, rules: list[Path], targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Scrapes `targets` (host:port by service) each second and evaluates `rules`, until the block ends."""
    program = required_program("prometheus")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {
                "job_name": "understudy",
                "honor_labels": True,
                "static_configs": [
                    {"targets": [target], "labels": {"service": service}} for service, target in targets.items()
                ],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(f"http://{address}", process, folder / "log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not become ready:\n{log.read_text()[-3000:]}")
