"""A Kubernetes cluster whose nodes simulate GPUs (kwok), with the `gpu` overlay applied: GPU_KUBECONFIG's, or one that
this machine brings up.

API server, controllers and scheduler are real; pods become ready without running anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.k8s.manifests import walk
from tests.repo.tree import ROOT
from tests.support import kustomize
from tests.support.certificates import Authority
from tests.support.cluster import NAMESPACE, kubectl
from tests.support.kustomize import Object

GPU = "nvidia.com/gpu"
_SIMULATED = ROOT.parent / "shared" / "tools" / "kube-sim" / "kube-sim.sh"
_BUILD_SECONDS, _READY_SECONDS = 1800, 120
_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class GpuCluster:
    """`applied`: every object that it was given, secrets and the operators' kinds aside."""

    kubeconfig: str
    applied: list[Object]

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return kubectl(self.kubeconfig, *arguments, given=given, seconds=_READY_SECONDS + 30)

    def items(self, *arguments: str) -> list[Object]:
        found: list[Object] = json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]
        return found

    def pods(self, name: str = "") -> list[Object]:
        """Pods of a part, or all, that are not leaving and have not ended."""
        chosen = ("-l", f"app.kubernetes.io/name={name}") if name else ()
        return [
            each
            for each in self.items("pods", *chosen)
            if "deletionTimestamp" not in each["metadata"] and each["status"].get("phase") in {"Pending", "Running"}
        ]

    def ready(self, name: str) -> list[Object]:
        """Of `pods`, those that are ready."""
        return [each for each in self.pods(name) if _condition(each, "Ready") == "True"]

    def places(self, name: str) -> Counter[str]:
        """How many ready pods of a part each node has."""
        return Counter(each["spec"]["nodeName"] for each in self.ready(name))

    def gpus(self) -> dict[str, int]:
        """What each node offers."""
        return {
            each["metadata"]["name"]: int(each["status"]["allocatable"].get(GPU, 0)) for each in self.items("nodes")
        }

    def gpus_taken(self) -> Counter[str]:
        """What pods hold on each node, those that are leaving included."""
        taken: Counter[str] = Counter()
        for pod in self.items("pods"):
            node = pod["spec"].get("nodeName")
            if node and pod["status"].get("phase") == "Running":
                limits = (each.get("resources", {}).get("limits", {}) for each in pod["spec"]["containers"])
                taken[node] += sum(int(each.get(GPU, 0)) for each in limits)
        return taken

    def scale(self, name: str, count: int) -> None:
        self.kubectl("scale", f"deployment/{name}", f"--replicas={count}")

    def until(self, holds: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Waits until something holds, looking at something else all the while."""
        deadline = time.monotonic() + _READY_SECONDS
        while not holds():
            meanwhile()
            assert time.monotonic() < deadline, self.kubectl("get", "pods", "-o", "wide")
            time.sleep(_EVERY_SECONDS)

    def rolled_out(self, name: str) -> bool:
        """Whether all of a Deployment's pods are of its newest form, ready, and no other is left."""
        deployment = json.loads(self.kubectl("get", f"deployment/{name}", "-o", "json"))
        wanted, status = deployment["spec"]["replicas"], deployment["status"]
        newest = status.get("observedGeneration") == deployment["metadata"]["generation"]
        counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
        return bool(newest and counts == {wanted} and len(self.pods(name)) == wanted)

    def evict(self, pod: Object) -> None:
        """As a drained node does. Raises AssertionError with the API's words where a budget forbids it."""
        named = {"name": pod["metadata"]["name"], "namespace": NAMESPACE}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": named}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{named['name']}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(eviction))


def _condition(each: Object, kind: str) -> str:
    return next((one["status"] for one in each["status"].get("conditions", []) if one["type"] == kind), "")


@contextmanager
def running(folder: Path) -> Iterator[GpuCluster]:
    """Applies the overlay server-side, waits until all of it is ready, and deletes the namespace afterwards."""
    kubeconfig, ours = os.environ.get("GPU_KUBECONFIG", ""), False
    if not kubeconfig:
        assert _SIMULATED.is_file(), "set GPU_KUBECONFIG to a cluster of simulated nodes with GPUs"
        # its programs stay when this one ends: they must not keep its pipes open
        subprocess.run([_SIMULATED, "up"], check=True, stdout=subprocess.DEVNULL, timeout=_BUILD_SECONDS)
        answered = subprocess.run([_SIMULATED, "kubeconfig"], check=True, capture_output=True, text=True)
        kubeconfig, ours = answered.stdout.strip(), True
    objects = kustomize.build(ROOT, "gpu", folder)
    try:
        if definitions := _kinds(kubeconfig, objects):
            kubectl(kubeconfig, "apply", "-f", "-", given=str(yaml.safe_dump_all(definitions)))
        applied = [each for each in objects if each["kind"] == "Namespace"]
        applied += [*_secrets(objects, folder), *(each for each in objects if each["kind"] != "Namespace")]
        cluster = GpuCluster(kubeconfig, applied)
        for node in cluster.gpus():  # as every kubelet does: pods are spread by it
            cluster.kubectl("label", "node", node, f"kubernetes.io/hostname={node}", "--overwrite")
        kubectl(kubeconfig, "apply", "--server-side", "-f", "-", given=str(yaml.safe_dump_all(applied)))
        done = ("wait", "job/store-setup", "--for=condition=Complete", f"--timeout={_READY_SECONDS}s")
        cluster.kubectl(*done)
        for each in objects:
            if each["kind"] in {"Deployment", "StatefulSet"}:
                named = f"{each['kind'].lower()}/{each['metadata']['name']}"
                cluster.kubectl("rollout", "status", named, f"--timeout={_READY_SECONDS}s")
        yield cluster
    finally:
        kubectl(kubeconfig, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", seconds=150)
        if ours:
            subprocess.run([_SIMULATED, "down"], check=True, stdout=subprocess.DEVNULL)


def _kinds(kubeconfig: str, objects: list[Object]) -> list[Object]:
    """Definitions, of no more than their names, of kinds whose operators are not in this cluster."""
    known = set(kubectl(kubeconfig, "api-resources", "--no-headers", "-o", "name").split())
    wanted = {(each["apiVersion"], each["kind"]) for each in objects if "." in each["apiVersion"].partition("/")[0]}
    definitions = []
    for version, kind in sorted(wanted):
        group, _, number = version.partition("/")
        plural = f"{kind.lower()}s"
        if group.endswith(".k8s.io") or f"{plural}.{group}" in known:
            continue
        anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        definitions.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                    "versions": [{"name": number, "served": True, "storage": True, "schema": anything}],
                },
            }
        )
    return definitions


def _secrets(objects: list[Object], folder: Path) -> list[Object]:
    """What the user of the overlay makes beforehand, by the keys that it names."""
    keys = {each["secretKeyRef"]["key"] for each in walk(objects) if "secretKeyRef" in each}
    keys |= {each["key"] for each in walk(objects) if each.get("name") == "understudy-secrets" and "key" in each}
    made = Authority(folder, "authority").sign("understudy.example")
    tls = {"tls.crt": made.certificate.read_text(), "tls.key": made.key.read_text()}
    named = {
        "understudy-secrets": ("Opaque", dict.fromkeys(keys, "simulated")),
        "understudy-tls": ("kubernetes.io/tls", tls),
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "type": kind,
         "stringData": data}
        for name, (kind, data) in named.items()
    ]  # fmt: skip
