"""The Compose stack: who may do what, transfers by both doors, workers added while they run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from gateway.resources import TransferOptions
from services.common.synthetic import SyntheticPair
from tests.repo.tree import STAGES
from tests.support import remote
from tests.support.compose import Stack
from tests.support.remote import Once, at

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

OPTIONS = TransferOptions(preset="preview", iterations=12)
FOUND_SECONDS = 25  # in which every caller has found a worker that is ready: connections live 20 s


def test_every_container_is_confined(stack: Stack) -> None:
    for container in stack.containers():
        found = stack.inspect(container)
        assert found["HostConfig"]["ReadonlyRootfs"], found["Name"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in found["HostConfig"]["SecurityOpt"]
        assert found["Config"]["User"].split(":")[0] not in {"", "0", "root"}
        assert not found["HostConfig"]["Privileged"]


def test_only_the_doors_are_open_and_only_to_this_machine(stack: Stack) -> None:
    bindings = [
        binding
        for container in stack.containers()
        for each in stack.inspect(container)["HostConfig"]["PortBindings"].values()
        for binding in each
    ]
    assert sorted(int(each["HostPort"]) for each in bindings) == sorted(stack.ports.values())
    assert {each["HostIp"] for each in bindings} == {"127.0.0.1"}


def test_only_the_downloader_and_the_doors_can_leave(stack: Stack) -> None:
    outside = {
        stack.inspect(each)["Config"]["Labels"]["com.docker.compose.service"]
        for each in stack.containers()
        if any(network.endswith("_outside") for network in stack.inspect(each)["NetworkSettings"]["Networks"])
    }
    assert outside == {"downloader", "gateway", "prometheus"}


def test_a_transfer_by_http(stack: Stack, pair: SyntheticPair, tmp_path: Path) -> None:
    began = time.monotonic()
    remote.by_http(stack.door, pair, tmp_path / "out.mp4", OPTIONS, lambda _: None)
    remote.check_result(tmp_path / "out.mp4")
    took = time.monotonic() - began
    began = time.monotonic()
    remote.by_http(stack.door, pair, tmp_path / "again.mp4", OPTIONS, lambda _: None)
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()
    assert time.monotonic() - began < took / 2  # nothing is computed twice


def test_nobody_comes_in_without_a_key_and_one_is_made_beside_the_gateway(stack: Stack) -> None:
    address = f"{stack.door.url}/v1/transfers"
    assert httpx.get(address, trust_env=False).status_code == 401
    made = stack.compose("exec", "-T", "gateway", "python", "-m", "gateway.cli", "keys", "create", "ada", "--json")
    key = json.loads(made)["key"]
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.get(address, headers=headers, trust_env=False).status_code == 200


def test_prometheus_sees_every_service(stack: Stack) -> None:
    deadline = time.monotonic() + 60
    while True:
        answer = httpx.get(f"{stack.prometheus_url}/api/v1/query", params={"query": "up == 1"}, trust_env=False).json()
        if {each["metric"]["service"] for each in answer["data"]["result"]} == {*STAGES, "gateway"}:
            break
        assert time.monotonic() < deadline, answer
        time.sleep(2)
    rules = httpx.get(f"{stack.prometheus_url}/api/v1/rules", trust_env=False).json()["data"]["groups"]
    assert rules
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def test_a_transfer_by_grpc_while_pose_is_scaled_up(stack: Stack, pair: SyntheticPair, tmp_path: Path) -> None:
    up = Once((at("download"), lambda: stack.scale("pose", 3)))
    remote.by_grpc(stack.door, pair, tmp_path / "up.mp4", OPTIONS, up, fewer=1)
    remote.check_result(tmp_path / "up.mp4")
    assert up.left == 0
    stack.wait_until_healthy("pose", 3)
    time.sleep(FOUND_SECONDS)
    before = {each: stack.calls(each) for each in stack.containers("pose")}
    remote.by_grpc(stack.door, pair, tmp_path / "shared.mp4", OPTIONS, lambda _: None, fewer=2)
    share = {each: stack.calls(each) - calls for each, calls in before.items()}
    assert len(share) == 3
    assert min(share.values()) >= 1, share
