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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.repo.tree import ROOT
from tests.support.ports import unused_port
from tests.support.remote import READ_METRICS, Door, admin_key, calls_done

_UP_SECONDS = 400
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
    """A running project."""

    project: str
    environment: Path
    ports: dict[str, int]

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
        return docker("compose", "-p", self.project, "--env-file", str(self.environment), *arguments, timeout=timeout)

    def containers(self, service: str = "") -> list[str]:
        """Ids of its containers that run."""
        return self.compose("ps", "--quiet", *([service] if service else [])).split()

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return found

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
    environment = folder / ".env"
    make_secrets = [sys.executable, str(ROOT / "deploy" / "make_secrets.py"), str(environment)]
    subprocess.run(make_secrets, check=True, capture_output=True)
    ports = {name: unused_port() for name in ("UNDERSTUDY_HTTP_PORT", "UNDERSTUDY_GRPC_PORT", "PROMETHEUS_PORT")}
    images = {name: os.environ.get(name, image) for name, image in STANDINS.items()}
    with environment.open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in {**ports, **images}.items())
    stack = Stack(f"understudy-test-{secrets.token_hex(4)}", environment, ports)
    try:
        stack.compose("up", "--detach", "--wait", "--wait-timeout", str(_UP_SECONDS), timeout=_UP_SECONDS + 30)
        yield stack
    except BaseException:
        logs = stack.compose("logs", "--no-color", "--tail", "200")
        (folder / "stack.log").write_text(logs)
        sys.stderr.write(f"{stack.compose('ps', '--all')}\n{logs[-20_000:]}\n")
        raise
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", "--remove-orphans")
