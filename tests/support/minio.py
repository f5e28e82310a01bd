"""A real MinIO server for tests: built once from its pinned source, started on a free port, stopped afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import platformdirs
from minio import Minio

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
_REPOSITORY = Path(__file__).resolve().parents[2]
_BUILD_SECONDS = 1500


@dataclass(frozen=True)
class MinioServer:
    """Where a running server listens, on loopback, and the credentials made for it."""

    host: str
    access_key: str
    secret_key: str

    def client(self) -> Minio:
        return Minio(self.host, access_key=self.access_key, secret_key=self.secret_key, secure=False)

    def new_bucket(self) -> str:
        """Makes an empty bucket and returns its name."""
        name = f"test-{secrets.token_hex(8)}"
        self.client().make_bucket(name)
        return name

    def store_url(self, bucket: str) -> str:
        return f"s3://{self.host}/{bucket}/under/prefix?secure=false"


def reason_missing() -> str:
    """Why there can be no server on this machine; empty when there can."""
    if _binary().exists() or shutil.which("go"):
        return ""
    return "MinIO is built from source and there is no Go toolchain on this machine"


def build() -> Path:
    """The server program. Builds it when this machine has none of the pinned version: 5 to 15 minutes, once."""
    binary = _binary()
    binary.parent.mkdir(parents=True, exist_ok=True)
    with binary.with_name(f"{binary.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes, one builds
        if not binary.exists():
            _build(binary)
    return binary


def _build(binary: Path) -> None:
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        environment = {**os.environ, **_go_caches(), "GOBIN": folder, "GOFLAGS": _go_flags()}
        command = ["go", "install", f"github.com/minio/minio@{VERSION}"]
        try:
            subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=_BUILD_SECONDS)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"building MinIO failed:\n{error.stderr[-4000:]}") from error
        Path(folder, "minio").replace(binary)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[MinioServer]:
    """Serves `folder` until the block ends."""
    binary = build()
    server = MinioServer(f"127.0.0.1:{_free_port()}", secrets.token_hex(10), secrets.token_hex(20))
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
        "MINIO_CI_CD": "1",  # allows a folder on the root disk
        "HOME": str(folder),
    }
    log = folder / "minio.log"
    command = [str(binary), "server", "--quiet", "--address", server.host, str(folder / "data")]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(server, process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: MinioServer, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"MinIO ended at its start:\n{log.read_text()[-4000:]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://{server.host}/minio/health/ready", trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise RuntimeError(f"MinIO did not become ready:\n{log.read_text()[-4000:]}")


def _binary() -> Path:
    return tools_folder() / f"minio-{VERSION}"


def tools_folder() -> Path:
    """A folder for programs that tests build: this user's cache, or the checkout's where that cannot be written."""
    return _writable(platformdirs.user_cache_path("understudy") / "tools", _REPOSITORY / ".cache" / "tools")


def _go_caches() -> dict[str, str]:
    """Go's own caches, or the checkout's where those cannot be written (a machine without a home)."""
    found: dict[str, str] = {}
    for name in ("GOCACHE", "GOMODCACHE"):
        asked = subprocess.run(["go", "env", name], capture_output=True, text=True, check=False).stdout.strip()
        fallback = _REPOSITORY / ".cache" / name.lower()
        found[name] = str(_writable(Path(asked), fallback) if asked and asked != "off" else fallback)
    return found


def _go_flags() -> str:
    return f"{os.environ.get('GOFLAGS', '')} -p=2".strip()


def _writable(wanted: Path, fallback: Path) -> Path:
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        return fallback


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
