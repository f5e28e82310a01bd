"""A real PostgreSQL server for tests: a cluster of its own in a temporary folder, stopped and started at will."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

_USER = "postgres"  # the server refuses to run as root


@dataclass(frozen=True)
class PostgresServer:
    """A cluster under `folder`, on loopback, with the password made for it."""

    folder: Path
    port: int
    secret: str

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}:{self.secret}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{secrets.token_hex(8)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._control("start", "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        """Cuts every connection, as a crash of the machine does."""
        self._control("stop", "-w", "-m", "immediate")

    def dump(self, url: str, destination: Path) -> Path:
        """`pg_dump`, as the runbook calls it."""
        self._client("pg_dump", "--format=custom", f"--file={destination}", url)
        return destination

    def restore(self, dump: Path, url: str) -> None:
        """`pg_restore` into an empty database."""
        self._client("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", str(dump))

    def _client(self, program: str, *arguments: str) -> None:
        subprocess.run([_programs() / program, *arguments], check=True, capture_output=True, timeout=60)

    def _control(self, *arguments: str) -> None:
        _as_server([str(_programs() / "pg_ctl"), "-D", str(self.folder / "data"), *arguments])


def reason_missing() -> str:
    """Why there can be no server on this machine; empty when there can."""
    if not (_programs() / "initdb").exists():
        return "needs PostgreSQL's server programs: apt-get install postgresql"
    if os.geteuid() == 0 and (not _user_exists() or not shutil.which("runuser")):
        return f"PostgreSQL does not run as root, and there is no user {_USER!r} or no runuser"
    return ""


@contextlib.contextmanager
def running() -> Iterator[PostgresServer]:
    """A server until the block ends."""
    with tempfile.TemporaryDirectory(prefix="understudy-postgres-", ignore_cleanup_errors=True) as path:
        folder = Path(path)  # not under pytest's own folder: only its user may enter that
        secret = secrets.token_hex(16)
        (folder / "secret").write_text(secret)
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            for each in (folder, folder / "secret"):
                os.chown(each, account.pw_uid, account.pw_gid)
        initdb = [str(_programs() / "initdb"), "-D", str(folder / "data"), "-U", _USER, "--auth=scram-sha-256"]
        _as_server([*initdb, f"--pwfile={folder / 'secret'}", "--encoding=UTF8", "--no-locale", "--no-sync"])
        server = PostgresServer(folder, _free_port(), secret)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(RuntimeError):  # a test may have stopped it
                server.stop()


@contextlib.contextmanager
def required_server() -> Iterator[PostgresServer]:
    """A server until the block ends. Without its programs the test fails in CI, and is skipped elsewhere."""
    missing = reason_missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with running() as server:
        yield server


def _as_server(command: list[str]) -> None:
    prefix = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")


def _programs() -> Path:
    """Where this machine keeps the server's programs: the newest of Debian's versions, or the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    found = versions[-1] if versions else Path(shutil.which("initdb") or "initdb")
    return found.parent


def _user_exists() -> bool:
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
