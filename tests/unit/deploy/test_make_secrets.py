"""The one command that makes a deployment's secrets."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path


def make(file: Path, repository: Path) -> dict[str, str]:
    """As the documents say to run it: with no package installed."""
    command = [sys.executable, "-I", str(repository / "deploy" / "make_secrets.py"), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_every_secret_is_its_own_and_its_owners_alone(tmp_path: Path, repository: Path) -> None:
    file = tmp_path / ".env"
    values = make(file, repository)
    secret = [value for name, value in values.items() if not name.endswith("_STORE_ACCESS_KEY")]
    assert len(secret) >= 10
    assert len(set(secret)) == len(secret)
    assert min(len(value) for value in secret) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_known_stays_and_what_lacks_is_added(tmp_path: Path, repository: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD=mine\n# a note\nUNDERSTUDY_TAG=7=8")
    lines = file.read_text().splitlines()
    first = make_text(file, repository)
    assert first[:3] == lines
    assert len(first) > 10
    assert make_text(file, repository) == first


def make_text(file: Path, repository: Path) -> list[str]:
    command = [sys.executable, str(repository / "deploy" / "make_secrets.py"), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file.read_text().splitlines()
