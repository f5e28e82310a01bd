"""A Kubernetes cluster with the `local` overlay applied: KUBECONFIG's, or a node that this machine brings up.

With KUBECONFIG set, IMAGE_LOAD is the command that brings local images into that cluster (for example
`kind load docker-image`); without it the cluster must be able to pull them.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.repo.tree import ROOT, STAGES
from tests.support import kustomize
from tests.support.ports import unused_port
from tests.support.remote import READ_METRICS, Door, admin_key, calls_done

NAMESPACE = "understudy"
NODE = ROOT.parent / "shared" / "tools" / "kube-node" / "kube-node.sh"
IMAGES = tuple(f"understudy/{name}:dev" for name in (*STAGES, "gateway", "store-setup", "minio"))
POSTGRES = "understudy-standin/postgres:dev"
_NODE_SECONDS = 1800
_READY_SECONDS = 600
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4).close()
    print("open")
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("dropped")
except OSError as error:
    print(error)
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster with the system running in it. `door`: the gateway's Service, from here."""

    kubeconfig: str
    door: Door

    def kubectl(self, *arguments: str, given: str | None = None, seconds: float = 120) -> str:
        return kubectl(self.kubeconfig, *arguments, given=given, seconds=seconds)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def pods(self, name: str) -> list[str]:
        """Names of the pods of a part that run and are not leaving."""
        found = self.get("pods", "-l", f"app.kubernetes.io/name={name}")["items"]
        return [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]

    def delete_pod(self, name: str) -> None:
        """One pod of a part, without grace, as a node that fails takes it."""
        self.kubectl("delete", "pod", self.pods(name)[0], "--grace-period=0", "--force", "--wait=false")

    def wait_until_rolled_out(self, *kinds_and_names: str) -> None:
        for each in kinds_and_names:
            self.kubectl("rollout", "status", each, f"--timeout={_READY_SECONDS}s", seconds=_READY_SECONDS + 30)

    def connection(self, part: str, host: str, port: int) -> str:
        """What happens when a pod of `part` opens a connection: "open", "refused", "dropped", or another error."""
        return self.kubectl("exec", self.pods(part)[0], "-c", "server", "--", "python", "-c", _CONNECT, host, str(port))

    def calls(self, pod: str) -> float:
        """gRPC calls that a pod has answered well, by its own metrics."""
        return calls_done(self.kubectl("exec", pod, "-c", "server", "--", "python", "-c", READ_METRICS))


def kubectl(kubeconfig: str, *arguments: str, given: str | None = None, seconds: float = 120) -> str:
    command = ["kubectl", "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds, input=given)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout.strip()


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Applies the overlay, waits until all of it is ready, and removes all of it afterwards."""
    kubeconfig = _find()
    documents = _overlay(folder, ipv4_alone=not os.environ.get("KUBECONFIG"))
    key = admin_key(folder / "k8s" / "overlays" / "local" / "secrets.env")
    try:
        kubectl(kubeconfig, "apply", "-f", "-", given=documents)
        _wait(kubeconfig)
        with _door(kubeconfig) as (http, grpc_address):
            yield Cluster(kubeconfig, Door(http, grpc_address, key))
    except BaseException:
        sys.stderr.write(_story(kubeconfig))
        raise
    finally:
        kubectl(kubeconfig, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=300s", seconds=330)
        if not os.environ.get("KUBECONFIG"):
            subprocess.run([NODE, "down"], check=True, timeout=_READY_SECONDS)  # its ports are others' next


def _find() -> str:
    """The kubeconfig of a cluster that has the images."""
    images = [*IMAGES, POSTGRES]
    if known := os.environ.get("KUBECONFIG"):
        if load := os.environ.get("IMAGE_LOAD"):
            subprocess.run([*shlex.split(load), *images], check=True, timeout=_NODE_SECONDS)
        return known
    assert NODE.is_file(), "set KUBECONFIG to a cluster, and IMAGE_LOAD to the command that loads images into it"
    subprocess.run([NODE, "up"], check=True, timeout=_NODE_SECONDS)
    for image in images:
        subprocess.run([NODE, "load", image], check=True, timeout=_NODE_SECONDS)
    return subprocess.run([NODE, "kubeconfig"], check=True, capture_output=True, text=True).stdout.strip()


def _overlay(folder: Path, *, ipv4_alone: bool) -> str:
    """`local`, with the database's image that this machine could build, and volumes of a test's size.

    ipv4_alone: for the node that this machine brings up, whose policies know no other addresses.
    """
    objects = kustomize.build(ROOT, "local", folder)
    for each in objects:
        if ipv4_alone and each["kind"] == "NetworkPolicy":
            for rule in each["spec"].get("egress", []):
                rule["to"] = [peer for peer in rule["to"] if ":" not in peer.get("ipBlock", {}).get("cidr", "")]
        for claim in each.get("spec", {}).get("volumeClaimTemplates", []):
            claim["spec"]["resources"]["requests"]["storage"] = "2Gi"
        if each["kind"] == "StatefulSet" and each["metadata"]["name"] == "postgres":
            each["spec"]["template"]["spec"]["containers"][0]["image"] = POSTGRES
    return str(yaml.safe_dump_all(objects))


def _wait(kubeconfig: str) -> None:
    kubectl(
        kubeconfig, "wait", "job/store-setup", "--for=condition=Complete", f"--timeout={_READY_SECONDS}s",
        seconds=_READY_SECONDS + 30,
    )  # fmt: skip
    for name in ("statefulset/gateway", *(f"deployment/{stage}" for stage in STAGES)):
        kubectl(
            kubeconfig, "rollout", "status", name, f"--timeout={_READY_SECONDS}s", seconds=_READY_SECONDS + 30
        )  # fmt: skip


@contextmanager
def _door(kubeconfig: str) -> Iterator[tuple[str, str]]:
    """The gateway's Service: by its own address where this machine reaches it, else by a forwarded port."""
    address = kubectl(kubeconfig, "get", "service", "gateway", "-o", "jsonpath={.spec.clusterIP}")
    if _reached(address, 8080, 3):
        yield f"http://{address}:8080", f"{address}:50051"
        return
    http, grpc_port = unused_port(), unused_port()
    forward = [
        "kubectl", "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, "port-forward", "service/gateway",
        f"{http}:8080", f"{grpc_port}:50051",
    ]  # fmt: skip
    # it ends with the pod that it leads to, and finds the next one when it is begun again
    program = f"import subprocess, time\nwhile True:\n    subprocess.run({forward!r})\n    time.sleep(1)\n"
    keeper = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        assert _reached("127.0.0.1", http, 60)
        yield f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc_port}"
    finally:
        os.killpg(keeper.pid, 15)
        keeper.wait()


def _reached(host: str, port: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return True
    return False


def _story(kubeconfig: str) -> str:
    """What a failure needs to be understood."""
    asked = (("get", "pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"))
    logs = tuple(
        ("logs", "--tail=40", "--prefix", "-l", f"app.kubernetes.io/name={name}") for name in (*STAGES, "gateway")
    )
    told = []
    for arguments in (*asked, *logs):
        try:
            told.append(kubectl(kubeconfig, *arguments))
        except AssertionError as error:
            told.append(str(error))
    return "\n\n".join(told)[-30_000:]
