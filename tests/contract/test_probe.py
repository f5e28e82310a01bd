"""The probe that containers are asked by, against a real server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from services.common import probe
from services.common.server import LIVENESS
from tests.contract.test_server import NOT_SERVING, SERVING, health_until, serving
from tests.support.ports import unused_port
from tests.support.sample_service import NAME


async def run(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "services.common.probe", *arguments]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    return child.returncode or 0, out.decode().strip()


async def test_it_says_what_the_server_says(tmp_path: Path) -> None:
    async with serving(tmp_path) as (running, channel):
        address = f"127.0.0.1:{running.port}"
        await health_until(channel, SERVING)
        assert await run(address) == (0, "SERVING")
        assert await run(address, "--service", NAME) == (0, "SERVING")
        (tmp_path / "store").rename(tmp_path / "elsewhere")
        await health_until(channel, NOT_SERVING)
        assert await run(address) == (1, "NOT_SERVING")
        # a process whose store is away is not to be restarted for it
        assert await run(address, "--service", LIVENESS) == (0, "SERVING")


def test_no_server_is_a_failure_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([f"127.0.0.1:{unused_port()}", "--timeout-seconds", "2"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().out
