"""A Compose project of its own: the stack of docker-compose.yml, with secrets and ports made for it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.repo.tree import ROOT
from tests.support.ports import unused_port
from tests.support.remote import READ_METRICS, Door, admin_key, calls_done
from tests.support.tmpfs import small_disk

_UP_SECONDS = 400
_FILES = (ROOT / "docker-compose.yml", ROOT / "tests" / "containers" / "small-store.yml")
_STORE_MEGABYTES = 4096
_OWNER = 10001  # of every image of ours
_UNRELIABLE = ROOT / "tests" / "support" / "unreliable.py"
STANDINS = {
    "POSTGRES_IMAGE": "understudy-standin/postgres:dev",
    "PROMETHEUS_IMAGE": "understudy-standin/prometheus:dev",
}


def docker(*arguments: str, timeout: float = 120) -> str:
    """What `docker ARGUMENTS` says; an error with its complaint when it fails."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Stack:
    """A running project. `store_disk`: where its object store keeps its data, a disk of its own."""

    project: str
    environment: Path
    ports: dict[str, int]
    store_disk: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['UNDERSTUDY_HTTP_PORT']}"

    @property
    def door(self) -> Door:
        return Door(self.url, f"127.0.0.1:{self.ports['UNDERSTUDY_GRPC_PORT']}", admin_key(self.environment))

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}"

    def compose(self, *arguments: str, timeout: float = 180) -> str:
        files = [word for file in _FILES for word in ("-f", str(file))]
        given = ("-p", self.project, "--env-file", str(self.environment))
        return docker("compose", *files, *given, *arguments, timeout=timeout)

    def containers(self, service: str = "") -> list[str]:
        """Ids of its containers that run."""
        return self.compose("ps", "--quiet", *([service] if service else [])).split()

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return found

    def scale(self, service: str, count: int) -> None:
        """So many containers of a service; those that stay are not touched."""
        self.compose("up", "--detach", "--no-recreate", "--no-deps", "--scale", f"{service}={count}", service)

    def kill(self, container: str) -> None:
        """Its process dies as for want of memory: Docker starts it again, which it does not after `docker kill`."""
        os.kill(int(self.inspect(container)["State"]["Pid"]), signal.SIGKILL)

    def stop_for(self, container: str, seconds: float) -> None:
        """Connections to it are refused for so long."""
        docker("stop", "--time", "10", container)
        time.sleep(seconds)
        docker("start", container)

    def freeze_for(self, container: str, seconds: float) -> None:
        """It hangs without dying: its connections stay, and nothing comes."""
        docker("pause", container)
        time.sleep(seconds)
        docker("unpause", container)

    def cut_off_for(self, container: str, service: str, seconds: float) -> None:
        """What is sent to it is lost, as on a network that fell apart."""
        network = f"{self.project}_inside"
        docker("network", "disconnect", network, container)
        time.sleep(seconds)
        docker("network", "connect", "--alias", service, network, container)

    def replace(self, service: str) -> None:
        """Its container is gone with all that it held, and another takes its place, as on another machine."""
        docker("rm", "--force", "--volumes", *self.containers(service))
        self.compose("up", "--detach", "--no-deps", service)

    @contextmanager
    def unreliable_store(self, busy_seconds: float, *words: str) -> Iterator[str]:
        """Between the services and MinIO stands tests/support/unreliable.py; the name of its container."""
        network, (store,), name = f"{self.project}_inside", self.containers("minio"), f"{self.project}-unreliable"
        docker("network", "disconnect", network, store)
        docker("network", "connect", "--alias", "behind", network, store)
        mount = ("--volume", f"{_UNRELIABLE}:/unreliable.py:ro")
        given = ("python", "-u", "/unreliable.py", "behind:9000", "9000", str(busy_seconds), *words)
        between = ("--name", name, "--network", network, "--network-alias", "minio")
        docker("run", "--detach", *between, *mount, "understudy/store-setup:dev", *given)
        try:
            yield name
        finally:
            docker("rm", "--force", name)
            docker("network", "disconnect", network, store)
            docker("network", "connect", "--alias", "minio", network, store)

    @contextmanager
    def full_store(self) -> Iterator[None]:
        """The disk of the object store has no room."""
        filler = self.store_disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))
            yield
        finally:
            filler.unlink()

    def memory_mib(self, service: str) -> float:
        """Resident, of all processes of a service's container."""
        (container,) = self.containers(service)
        rows = docker("top", container, "-eo", "pid,rss").splitlines()[1:]
        return sum(int(row.split()[1]) for row in rows) / 1024

    def wait_until_healthy(self, service: str, count: int, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while True:
            states = [self.inspect(each)["State"] for each in self.containers(service)]
            if [each.get("Health", {}).get("Status") for each in states] == ["healthy"] * count:
                return
            assert time.monotonic() < deadline, (service, states)
            time.sleep(1)

    def calls(self, container: str) -> float:
        """gRPC calls of the stage that a worker has ended well, by its own metrics."""
        return calls_done(docker("exec", container, "python", "-c", READ_METRICS))


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Brings the stack up, waits until it is healthy, and removes all of it afterwards, volumes included."""
    with small_disk(folder / "disk", _STORE_MEGABYTES) as disk:
        os.chown(disk, _OWNER, _OWNER)
        yield from _running_on(disk, folder / ".env")


def _running_on(disk: Path, environment: Path) -> Iterator[Stack]:
    make_secrets = [sys.executable, str(ROOT / "deploy" / "make_secrets.py"), str(environment)]
    subprocess.run(make_secrets, check=True, capture_output=True)
    ports = {name: unused_port() for name in ("UNDERSTUDY_HTTP_PORT", "UNDERSTUDY_GRPC_PORT", "PROMETHEUS_PORT")}
    images = {name: os.environ.get(name, image) for name, image in STANDINS.items()}
    with environment.open("a") as file:
        given = {**ports, **images, "STORE_DISK": disk}
        file.writelines(f"{name}={value}\n" for name, value in given.items())
    stack = Stack(f"understudy-test-{secrets.token_hex(4)}", environment, ports, disk)
    try:
        stack.compose("up", "--detach", "--wait", "--wait-timeout", str(_UP_SECONDS), timeout=_UP_SECONDS + 30)
        yield stack
    except BaseException:
        logs = stack.compose("logs", "--no-color", "--tail", "200")
        environment.with_name("stack.log").write_text(logs)
        sys.stderr.write(f"{stack.compose('ps', '--all')}\n{logs[-20_000:]}\n")
        raise
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", "--remove-orphans")
