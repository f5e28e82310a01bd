"""A process that cannot start says why in one line."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.entry import enter
from services.common.errors import InvalidOption, WeightsMissing

PROCESSES = ["gateway", *(f"services.{name}" for name in ("downloader", "pose", "normalization", "trainer"))]


def started(module: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    given = {"STORE_URL": (folder / "store").as_uri(), "CACHE_DIR": str(folder / "cache"), **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}
    environment |= {f"UNDERSTUDY_{name}": value for name, value in given.items()}
    command = [sys.executable, "-m", module]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("module", PROCESSES)
def test_settings_that_cannot_be_are_named(module: str, tmp_path: Path) -> None:
    done = started(module, tmp_path, LISTEN_PORT="70000", STORE_SECRET_KEY="hush", STORE_URL="")
    assert done.returncode == 2
    assert done.stderr.startswith("cannot start: UNDERSTUDY_STORE_URL: ")
    assert "; UNDERSTUDY_LISTEN_PORT: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hush" not in done.stderr


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    done = started("services.trainer", tmp_path, TRAINER_LPIPS_WEIGHTS=str(tmp_path / "none.safetensors"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("cannot start: there are no LPIPS weights at ")
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = started("services.downloader", tmp_path, LISTEN_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "its port may be taken" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_code_says_whether_a_setting_must_change(capsys: pytest.CaptureFixture[str]) -> None:
    def option() -> None:
        raise InvalidOption("not a store")

    def weights() -> None:
        raise WeightsMissing("run `make setup`")

    for main, code in ((option, 2), (weights, 1)):
        with pytest.raises(SystemExit) as ended:
            enter(main)
        assert ended.value.code == code
    assert capsys.readouterr().err == "cannot start: not a store\ncannot start: run `make setup`\n"


def test_faults_of_ours_keep_their_traceback() -> None:
    def fault() -> None:
        raise OSError(errno.EIO, "disk")

    with pytest.raises(OSError, match="disk"):
        enter(fault)
