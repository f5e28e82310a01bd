"""The program `understudy`, run as its users run it, and disturbed as they fear."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

PROGRAM = Path(sys.executable).with_name("understudy")
SERVICES = ("downloader", "pose", "segmentation", "normalization", "trainer", "renderer")

Event = dict[str, Any]


class Run:
    """One `understudy transfer --json` as a child process.

    on_event hears every event as it comes, on a thread of its own; `wait` returns the exit code.
    """

    def __init__(self, *arguments: object, on_event: Callable[[Run, Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._on_event = on_event
        self.process = subprocess.Popen(
            [PROGRAM, "transfer", *map(str, arguments), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, seconds: float = 280.0) -> int:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not ended after {seconds} s; last events: {self.events[-3:]}") from None
        self._reader.join(10)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stderr = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def kill_service(self, name: str) -> None:
        """kill -9 of one of the seven processes."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            line = _command_line(child)
            if line[1:3] == ["-m", name if name == "gateway" else f"services.{name}"]:
                os.kill(child.pid, signal.SIGKILL)
                return
        raise AssertionError(f"no process {name}")

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]

    @property
    def transfers(self) -> list[Event]:
        return [event["transfer"] for event in self.events if event["event"] == "transfer"]

    @property
    def messages(self) -> list[str]:
        return [event["message"] for event in self.events if event["event"] == "message"]

    @property
    def result(self) -> Event:
        found: Event = next(event for event in self.events if event["event"] == "result")["transfer"]
        return found

    @property
    def error(self) -> Event:
        return next(event for event in self.events if event["event"] == "error")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if self._on_event is not None:
                self._on_event(self, event)


def stage_of(event: Event, stage: str, role: str = "") -> Event:
    """A stage's entry in an event's transfer; {} when the event is none of a transfer."""
    for each in event.get("transfer", {}).get("stages", ()):
        if each["stage"] == stage and role in {"", each["role"]}:
            return dict(each)
    return {}


def artifacts(home: Path) -> dict[str, dict[str, str]]:
    """Of every committed artifact, "kind/key": the SHA-256 of its objects by name."""
    found = {}
    for manifest in sorted((home / "store" / "artifacts").glob("*/*/manifest.json")):
        document = json.loads(manifest.read_bytes())
        kind, key = manifest.parts[-3:-1]
        found[f"{kind}/{key}"] = {name: each["sha256"] for name, each in document["objects"].items()}
    return found


def manifest_times(home: Path) -> dict[str, int]:
    """When each artifact was committed, nanoseconds."""
    manifests = (home / "store" / "artifacts").glob("*/*/manifest.json")
    return {"/".join(path.parts[-3:-1]): path.stat().st_mtime_ns for path in manifests}


def alive(pids: list[int]) -> Iterator[int]:
    """Those of the processes that still run."""
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                yield pid
        except psutil.NoSuchProcess:
            continue


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
