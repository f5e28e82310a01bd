"""The stack: gateway and stage services as local processes, started, watched, restarted and stopped together.

Every child holds the reading end of a pipe whose writing end only this process has. However this process ends, the
pipe closes and the children stop: none is left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gateway.cli.home import Home
from gateway.config import STAGE_SERVICES
from services.common.errors import ServiceUnavailable

GATEWAY = "gateway"
_GRACE_SECONDS = 8.0
_LOOK_SECONDS = 0.1
_MOST_CRASHES = 6
_CRASH_WINDOW_SECONDS = 30.0
_LOG_BYTES = 4 << 20

Tell = Callable[[str], None]


@dataclass
class _Child:
    name: str
    module: str
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    crashes: list[float] = field(default_factory=list)


class Stack:
    """A context manager. `tell` hears one line about everything out of the ordinary, from another thread.

    services: which stage services to run; none runs a gateway that only reads and deletes. run_transfers: whether
    transfers are begun and recovered, for which it takes all services. metrics: whether each serves its metrics, see
    `metrics_urls`. settings: UNDERSTUDY_* variables that replace the stack's own.
    """

    def __init__(
        self,
        home: Home,
        tell: Tell,
        *,
        services: tuple[str, ...] = STAGE_SERVICES,
        run_transfers: bool = True,
        foreground_request_id: str = "",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._home = home
        self._tell = tell
        self._services = services
        self._run_transfers = run_transfers and bool(services)
        self._settings = dict(settings or {})
        ports = list(_free_ports(2 + 2 * len(services)))
        self.http_port, self.grpc_port = http_port or ports.pop(), grpc_port or ports.pop()
        self.addresses = {name: f"127.0.0.1:{ports.pop()}" for name in services}
        self._metrics_ports = {name: ports.pop() for name in services} if metrics else {}
        self._foreground_request_id = foreground_request_id
        self._children: list[_Child] = []
        self._stopping = threading.Event()
        self._broken = ""
        self._lock: IO[bytes] | None = None
        self._pipe: tuple[int, int] | None = None
        self._watcher = threading.Thread(target=self._watch, name="stack", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def metrics_urls(self) -> dict[str, str]:
        """Where Prometheus finds the metrics of each process that serves them, by name."""
        ports = self._metrics_ports | {GATEWAY: self.http_port}
        return {name: f"http://127.0.0.1:{port}/metrics" for name, port in ports.items()}

    @property
    def pids(self) -> dict[str, int]:
        """Process id by name, of those that run."""
        return {child.name: child.process.pid for child in self._children if child.process is not None}

    def check(self) -> None:
        """Raises ServiceUnavailable when a service does not stay up."""
        if self._broken:
            raise ServiceUnavailable(self._broken)

    def __enter__(self) -> Stack:
        self._lock = self._home.lock()
        self._sweep()
        self._pipe = os.pipe()
        self._children = [
            *(_Child(name, f"services.{name}", self._service_environment(name)) for name in self._services),
            _Child(GATEWAY, "gateway", self._gateway_environment()),
        ]
        try:
            for child in self._children:
                self._spawn(child)
        except BaseException:
            self.__exit__()
            raise
        self._watcher.start()
        self._home.announce(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._home.withdraw()
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for descriptor in self._pipe or ():
            os.close(descriptor)
        self._pipe = None
        if self._lock is not None:
            self._lock.close()

    def _sweep(self) -> None:
        """Removes what processes that were killed left half written: nobody else works here while we hold the lock."""
        for folder in (self._home.store / ".tmp", self._home.spool):
            for stray in folder.glob("*"):
                if stray.is_dir():
                    shutil.rmtree(stray, ignore_errors=True)
                else:
                    stray.unlink(missing_ok=True)

    def _spawn(self, child: _Child) -> None:
        assert self._pipe is not None
        reading = self._pipe[0]
        environment = dict(os.environ) | dict(child.environment) | {"UNDERSTUDY_PARENT_PIPE": str(reading)}
        with _log_file(self._home.logs / f"{child.name}.log") as log:
            child.process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", child.module],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(reading,),
                start_new_session=True,  # a Ctrl-C at the terminal is ours to answer
                cwd=self._home.path,
            )

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            for child in self._children:
                if child.process is not None and child.process.poll() is not None and not self._broken:
                    self._revive(child, child.process.returncode)

    def _revive(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        child.crashes = [when for when in child.crashes if now - when < _CRASH_WINDOW_SECONDS] + [now]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        log = self._home.logs / f"{child.name}.log"
        if len(child.crashes) >= _MOST_CRASHES:
            self._broken = f"{child.name} {how}, {len(child.crashes)} times in a row; see {log}:\n{_tail(log)}"
            return
        self._tell(f"{child.name} {how}; started again, finished work is kept")
        if self._stopping.wait(0.5 * (len(child.crashes) - 1)):
            return
        self._spawn(child)

    def _service_environment(self, name: str) -> dict[str, str]:
        own = {
            "UNDERSTUDY_STORE_URL": self._home.store.as_uri(),
            "UNDERSTUDY_CACHE_DIR": str(self._home.path / "cache"),
            "UNDERSTUDY_LISTEN_HOST": "127.0.0.1",
            "UNDERSTUDY_METRICS_PORT": str(self._metrics_ports.get(name, -1)),
            "MALLOC_ARENA_MAX": "2",  # seven processes share one small machine
            "TMPDIR": str(self._home.spool),
            # Threads that spin long while they wait starve the others on a busy machine; those that do not spin at all
            # cost the training a sixth of its speed on a quiet one.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "2000"),
        }
        if name != GATEWAY:
            own["UNDERSTUDY_LISTEN_PORT"] = self.addresses[name].rpartition(":")[2]
        return own | self._settings

    def _gateway_environment(self) -> dict[str, str]:
        own = {
            "UNDERSTUDY_DATABASE_URL": self._home.database_url,
            "UNDERSTUDY_WORKFLOW_DATABASE_URL": self._home.workflow_database_url,
            "UNDERSTUDY_LISTEN_PORT": str(self.grpc_port),
            "UNDERSTUDY_HTTP_PORT": str(self.http_port),
            "UNDERSTUDY_SPOOL_DIR": str(self._home.spool),
            "UNDERSTUDY_RUN_TRANSFERS": "true" if self._run_transfers else "false",
            "UNDERSTUDY_FOREGROUND_REQUEST_ID": self._foreground_request_id,
            **{f"UNDERSTUDY_{name.upper()}_ADDRESS": address for name, address in self.addresses.items()},
        }
        return self._service_environment(GATEWAY) | own | self._settings


def _free_ports(count: int) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    yield from ports


def _log_file(path: Path) -> IO[bytes]:
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-5:])
    return ""
