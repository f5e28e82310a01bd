"""The `gpu` overlay where nodes have GPUs: what the API takes, where pods go, how they are replaced and evicted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.k8s.manifests import name
from tests.repo.tree import STAGES
from tests.support import gpu_cluster
from tests.support.gpu_cluster import GPU, GpuCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

POSES = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuCluster]:
    with gpu_cluster.running(tmp_path_factory.mktemp("overlay")) as running:
        yield running


@pytest.fixture
def free(cluster: GpuCluster) -> int:
    """GPUs that are left for trainers."""
    cluster.scale("trainer", 0)
    cluster.until(lambda: not cluster.items("pods", "-l", "app.kubernetes.io/name=trainer"))
    left = sum(cluster.gpus().values()) - sum(cluster.gpus_taken().values())
    assert left >= 2
    return left


def check_gpus(cluster: GpuCluster) -> None:
    offered = cluster.gpus()
    assert all(taken <= offered[node] for node, taken in cluster.gpus_taken().items())


def test_the_api_took_every_object(cluster: GpuCluster) -> None:
    for each in cluster.applied:
        group, _, _ = each["apiVersion"].rpartition("/")
        kind = f"{each['kind']}.{group}" if group else each["kind"]
        cluster.kubectl("get", kind, each["metadata"]["name"])
    assert {name(each) for each in cluster.applied} > {f"Deployment/{stage}" for stage in STAGES}


def test_each_trainer_has_a_gpu_of_its_own_and_those_without_wait(cluster: GpuCluster, free: int) -> None:
    cluster.scale("trainer", free)
    cluster.until(lambda: cluster.rolled_out("trainer"))
    check_gpus(cluster)
    assert sum(cluster.gpus_taken().values()) == sum(cluster.gpus().values())
    cluster.scale("trainer", free + 1)
    cluster.until(lambda: len(cluster.pods("trainer")) == free + 1)
    (waiting,) = [each for each in cluster.pods("trainer") if "nodeName" not in each["spec"]]
    cluster.until(lambda: f"Insufficient {GPU}" in cluster.kubectl("describe", "pod", waiting["metadata"]["name"]))
    cluster.scale("trainer", free)
    cluster.until(lambda: cluster.rolled_out("trainer"))
    check_gpus(cluster)


def test_trainers_are_spread_over_the_nodes(cluster: GpuCluster, free: int) -> None:
    nodes = [node for node, offered in cluster.gpus().items() if offered]
    count = min(free, len(nodes))
    cluster.scale("trainer", count)
    cluster.until(lambda: cluster.rolled_out("trainer"))
    assert set(cluster.places("trainer").values()) == {1}


def test_trainers_are_replaced_where_every_gpu_is_taken(cluster: GpuCluster, free: int) -> None:
    """The old one first, then the new one: no room is ever needed that is not there."""
    cluster.scale("trainer", free)
    cluster.until(lambda: cluster.rolled_out("trainer"))
    fewest = [free]

    def look() -> None:
        check_gpus(cluster)
        fewest.append(len(cluster.ready("trainer")))

    cluster.kubectl("rollout", "restart", "deployment/trainer")
    cluster.until(lambda: cluster.rolled_out("trainer"), look)
    assert min(fewest) >= free - 1, fewest


def test_pose_is_spread_and_is_replaced_without_ever_being_fewer(cluster: GpuCluster) -> None:
    cluster.scale("pose", POSES)
    cluster.until(lambda: cluster.rolled_out("pose"))
    places = cluster.places("pose")
    assert max(places.values()) - min(places.values()) <= 1
    assert len(places) == len(cluster.gpus())
    seen = [POSES]
    cluster.kubectl("rollout", "restart", "deployment/pose")
    cluster.until(lambda: cluster.rolled_out("pose"), lambda: seen.append(len(cluster.ready("pose"))))
    assert min(seen) >= POSES, seen


def test_a_budget_keeps_what_is_left_while_one_has_no_place_yet(cluster: GpuCluster) -> None:
    cluster.scale("pose", POSES)
    cluster.until(lambda: cluster.rolled_out("pose"))
    first, second, *_ = cluster.ready("pose")
    nodes = list(cluster.gpus())
    try:
        for node in nodes:
            cluster.kubectl("cordon", node)
        cluster.evict(first)
        cluster.until(lambda: len(cluster.ready("pose")) == POSES - 1)
        with pytest.raises(AssertionError, match="disruption budget"):
            cluster.evict(second)
    finally:
        for node in nodes:
            cluster.kubectl("uncordon", node)
    cluster.until(lambda: cluster.rolled_out("pose"))


def test_a_node_is_drained_and_nothing_stops(cluster: GpuCluster) -> None:
    cluster.scale("pose", POSES)
    cluster.scale("trainer", 1)
    cluster.until(lambda: cluster.rolled_out("pose") and cluster.rolled_out("trainer"))
    node = cluster.pods("trainer")[0]["spec"]["nodeName"]
    try:
        cluster.kubectl("drain", node, "--delete-emptydir-data", "--timeout=120s")
        cluster.until(lambda: all(cluster.rolled_out(stage) for stage in STAGES))
        assert not [stage for stage in STAGES if node in cluster.places(stage)]
    finally:
        cluster.kubectl("uncordon", node)


def test_two_gateways_have_names_of_their_own_and_keep_them(cluster: GpuCluster) -> None:
    names = {"gateway-0", "gateway-1"}
    cluster.kubectl("scale", "statefulset/gateway", "--replicas=2")
    cluster.until(lambda: {each["metadata"]["name"] for each in cluster.ready("gateway")} == names)
    assert len(cluster.places("gateway")) == min(2, len(cluster.gpus()))
    before = {each["metadata"]["uid"] for each in cluster.ready("gateway")}
    cluster.kubectl("delete", "pod", *names, "--wait=false")
    cluster.until(lambda: not before & {each["metadata"]["uid"] for each in cluster.items("pods")})
    cluster.until(lambda: {each["metadata"]["name"] for each in cluster.ready("gateway")} == names)
    cluster.kubectl("scale", "statefulset/gateway", "--replicas=1")
