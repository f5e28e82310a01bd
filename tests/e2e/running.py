"""`understudy up` as a child process, for many commands to share, and what such commands may leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.support.program import PROGRAM, alive

_START_SECONDS = 150.0
_SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Up:
    """A running `understudy up` over `home`."""

    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Of its gateway. Raises ValueError when another one's is announced."""
        announced = json.loads((self.home / "run" / "gateway.json").read_text())
        if announced["pid"] != self.process.pid:
            raise ValueError(f"announced by process {announced['pid']}")
        return str(announced["url"])

    @property
    def pids(self) -> set[int]:
        """Every process below it: the gateway, the services, and their own children."""
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}

    def settled(self, before: set[int]) -> bool:
        """Whether its processes are, after a while at most, those of `before` and no more."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            if set(alive(list(self.pids))) <= before:
                return True
            time.sleep(0.1)
        return False


@contextmanager
def understudy_up(home: Path, **settings: object) -> Iterator[Up]:
    """Starts it, waits until all of it is ready, and stops it as Ctrl-C does; no process may be left.

    settings: UNDERSTUDY_* by their names in lower case.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home.with_name(f"{home.name}-up.log")
    own = {f"UNDERSTUDY_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as said:
        process = subprocess.Popen(
            [PROGRAM, "up", "--home", home, "--port", "0"],
            env=dict(os.environ) | own,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    up = Up(home, process, log)
    pids: set[int] = set()
    try:
        _wait_until_ready(up)
        pids = up.pids
        yield up
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"not stopped by Ctrl-C: {log.read_text()}") from None
    assert code == 0, log.read_text()
    assert list(alive(list(pids))) == []


def _wait_until_ready(up: Up) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert up.process.poll() is None, up.log.read_text()
        assert time.monotonic() < deadline, f"not ready after {_START_SECONDS} s: {up.log.read_text()}"
        try:
            if httpx.get(f"{up.url}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except (OSError, ValueError, httpx.TransportError):
            pass
        time.sleep(0.2)


def half_done(home: Path) -> list[str]:
    """What a command may have left in a home that is no finished work: temporary files, objects without manifest."""
    left = [path for folder in ("spool", "cache") for path in (home / folder).rglob("*") if path.is_file()]
    store = home / "store"
    left += [folder for folder in store.glob("artifacts/*/*") if not (folder / "manifest.json").exists()]
    left += [path for path in store.rglob("*") if path.is_file() and path.suffix in {".part", ".tmp"}]
    return sorted(str(path.relative_to(home)) for path in left)
