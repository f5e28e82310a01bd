"""The `local` overlay on a real cluster: who may talk to whom, transfers by both doors, workers that come and go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.resources import TransferOptions
from services.common.synthetic import SyntheticPair
from tests.repo.tree import STAGES
from tests.support import cluster as clusters
from tests.support import remote
from tests.support.cluster import Cluster
from tests.support.remote import Once, at

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(5400)]

OPTIONS = TransferOptions(preset="preview", iterations=12)
OUTSIDE = "1.1.1.1"
FOUND_SECONDS = 25  # in which every caller has found a pod that is ready: connections live 20 s


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clusters.running(tmp_path_factory.mktemp("overlay")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return remote.dancers(tmp_path_factory.mktemp("dancers"))


ALLOWED = [
    ("gateway", "postgres", 5432), ("gateway", "minio", 9000), ("gateway", "pose", 50051), ("pose", "minio", 9000),
    ("trainer", "minio", 9000),
]  # fmt: skip
REFUSED = [
    ("pose", "postgres", 5432), ("trainer", "postgres", 5432), ("downloader", "postgres", 5432),
    ("pose", "trainer", 50051), ("renderer", "gateway", 8080), ("pose", OUTSIDE, 443), ("trainer", OUTSIDE, 80),
    ("gateway", OUTSIDE, 443), ("downloader", "kubernetes.default", 443), ("downloader", "pose", 50051),
    ("downloader", "169.254.169.254", 80), ("downloader", OUTSIDE, 22),
]  # fmt: skip


@pytest.mark.parametrize(("part", "host", "port"), ALLOWED)
def test_what_must_talk_may(part: str, host: str, port: int, cluster: Cluster) -> None:
    assert cluster.connection(part, host, port) == "open"


@pytest.mark.parametrize(("part", "host", "port"), REFUSED)
def test_nothing_else_may(part: str, host: str, port: int, cluster: Cluster) -> None:
    assert cluster.connection(part, host, port) == "dropped"


def test_the_downloader_may_leave(cluster: Cluster) -> None:
    """A node without a way out refuses at once what its policies let pass; those drop what they do not."""
    assert cluster.connection("downloader", OUTSIDE, 443) in {"open", "refused"}


def test_the_namespace_takes_no_pod_that_is_not_confined(cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad"},
        "spec": {"containers": [{"name": "bad", "image": "bad:1"}]},
    }
    with pytest.raises(AssertionError, match=r"violates PodSecurity .restricted"):
        cluster.kubectl("apply", "--dry-run=server", "-f", "-", given=json.dumps(pod))


def test_a_transfer_by_http(cluster: Cluster, pair: SyntheticPair, tmp_path: Path) -> None:
    remote.by_http(cluster.door, pair, tmp_path / "out.mp4", OPTIONS, lambda _: None)
    remote.check_result(tmp_path / "out.mp4")


def test_a_transfer_by_grpc_while_pose_is_scaled_and_pods_are_deleted(
    cluster: Cluster, pair: SyntheticPair, tmp_path: Path
) -> None:
    events = Once(
        (at("download"), lambda: scale_pose(cluster, 3)),
        (at("pose"), lambda: cluster.delete_pod("pose")),
        (at("segmentation"), lambda: cluster.delete_pod("segmentation")),
        (at("training"), lambda: cluster.delete_pod("gateway")),
        (at("training", 2), lambda: cluster.delete_pod("trainer")),
        (at("rendering"), lambda: cluster.delete_pod("renderer")),
    )
    options = OPTIONS.model_copy(update={"iterations": 30})
    remote.by_grpc(cluster.door, pair, tmp_path / "out.mp4", options, events, fewer=1)
    remote.check_result(tmp_path / "out.mp4")
    assert events.left == 0


def test_three_pose_pods_share_the_work_and_two_may_leave_while_it_is_done(
    cluster: Cluster, pair: SyntheticPair, tmp_path: Path
) -> None:
    scale_pose(cluster, 3)
    cluster.wait_until_rolled_out("deployment/pose")
    time.sleep(FOUND_SECONDS)
    pods = cluster.pods("pose")
    before = {pod: cluster.calls(pod) for pod in pods}
    remote.by_grpc(cluster.door, pair, tmp_path / "shared.mp4", OPTIONS, lambda _: None, fewer=2)
    share = {pod: cluster.calls(pod) - before[pod] for pod in pods}
    assert len(share) == 3
    assert min(share.values()) >= 1, share
    down = Once((at("pose"), lambda: scale_pose(cluster, 1)))
    remote.by_http(cluster.door, pair, tmp_path / "out.mp4", OPTIONS, down, fewer=3)
    remote.check_result(tmp_path / "out.mp4")
    assert down.left == 0


def test_everything_is_rolled_during_a_training(cluster: Cluster, pair: SyntheticPair, tmp_path: Path) -> None:
    names = [f"deployment/{stage}" for stage in STAGES] + ["statefulset/gateway"]
    roll = Once((at("training"), lambda: cluster.kubectl("rollout", "restart", *names)))
    options = OPTIONS.model_copy(update={"iterations": 60})
    remote.by_grpc(cluster.door, pair, tmp_path / "out.mp4", options, roll, fewer=4)
    remote.check_result(tmp_path / "out.mp4")
    assert roll.left == 0
    cluster.wait_until_rolled_out(*names)


def scale_pose(cluster: Cluster, count: int) -> None:
    cluster.kubectl("scale", "deployment/pose", f"--replicas={count}")
