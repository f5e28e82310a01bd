"""The one folder that an embedded installation keeps its data in."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs

from services.common.errors import Conflict, Forbidden, StorageFull


def default_home() -> Path:
    """The user's data folder, by the platform's custom."""
    return Path(platformdirs.user_data_dir("understudy", appauthor=False))


@dataclass(frozen=True)
class Home:
    """Paths under one folder. `open` makes it; raises Forbidden or StorageFull when it cannot be written."""

    path: Path

    @classmethod
    def open(cls, path: Path | None) -> Home:
        home = cls((path or default_home()).expanduser().absolute())
        try:
            for folder in (home.store, home.logs, home.run, home.spool):
                folder.mkdir(parents=True, exist_ok=True)
            probe = home.run / f"probe-{os.getpid()}"
            probe.write_bytes(b"understudy")
            probe.unlink()
        except OSError as error:
            if error.errno == 28:
                raise StorageFull(f"no room left in {home.path}: free some space or give another --home") from error
            raise Forbidden(f"cannot keep data in {home.path} ({error.strerror}): give another --home") from error
        return home

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.path / 'gateway.db'}"

    @property
    def workflow_database_url(self) -> str:
        return f"sqlite:///{self.path / 'workflows.db'}"

    def running_gateway(self) -> str:
        """Base URL of the gateway that another process keeps over this home; empty when there is none."""
        try:
            with (self.run / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return ""
        except BlockingIOError:
            try:
                return str(json.loads((self.run / "gateway.json").read_text())["url"])
            except (FileNotFoundError, ValueError, KeyError):
                return ""
        return ""

    def lock(self) -> IO[bytes]:
        """Makes this process the only one that runs services over this home, until the file is closed."""
        lock = (self.run / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Conflict(
                f"another understudy command is at work in {self.path}: wait for it, or give another --home"
            ) from None
        return lock

    def announce(self, url: str) -> None:
        part = self.run / "gateway.json.part"
        part.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        part.replace(self.run / "gateway.json")

    def withdraw(self) -> None:
        (self.run / "gateway.json").unlink(missing_ok=True)
