"""The stack: what dies is started again, and nothing outlives the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.cli.home import Home
from gateway.cli.stack import Stack


def wait_until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_gateway_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    lines: list[str] = []
    home = Home.open(tmp_path)
    strays = [home.spool / "understudy-upload-x", home.store / ".tmp" / "half"]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"of a killed process")
    with Stack(home, lines.append, services=()) as stack:
        assert not any(stray.exists() for stray in strays)
        wait_until(lambda: answers(stack.url))
        killed = stack.pids["gateway"]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: stack.pids["gateway"] != killed and answers(stack.url))
        last = stack.pids["gateway"]
    assert lines == ["gateway was killed by signal 9; started again, finished work is kept"]
    assert not psutil.pid_exists(last)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from gateway.cli.home import Home\n"
        "from gateway.cli.stack import Stack\n"
        "home = Home.open(pathlib.Path(sys.argv[1]))\n"
        "with Stack(home, lambda line: None, services=('downloader',)) as stack:\n"
        "    sys.stdout.write(' '.join(map(str, stack.pids.values())) + ' ' + stack.url + '\\n')\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    *pids, url = parent.stdout.readline().split()
    wait_until(lambda: answers(url))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(_alive(int(pid)) for pid in pids))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
