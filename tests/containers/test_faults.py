"""Faults, each during a transfer over the Compose stack: each costs time, and nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.resources import TransferOptions
from services.common.errors import StorageFull
from services.common.synthetic import SyntheticPair
from tests.repo.tree import STAGES
from tests.support import remote
from tests.support.compose import Stack, docker
from tests.support.remote import Once, at

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

OPTIONS = TransferOptions(preset="preview", iterations=12)
AWAY_SECONDS, HANGING_SECONDS = 60, 45  # longer than keepalive needs to notice
BUSY_SECONDS, BUSY_SHARE, DELAY_SECONDS, BYTES_A_SECOND = 40, 0.2, 0.15, 3_000_000


def test_containers_that_die_and_workers_that_leave_cost_time_and_nothing_else(
    stack: Stack, pair: SyntheticPair, tmp_path: Path
) -> None:
    ids = {each: stack.containers(each)[0] for each in (*STAGES, "gateway", "minio", "postgres")}
    faults = Once(
        (at("download"), lambda: stack.kill(ids["downloader"])),
        (at("pose"), lambda: stack.scale("pose", 1)),
        (at("pose", 2), lambda: stack.kill(stack.containers("pose")[0])),
        (at("segmentation"), lambda: stack.kill(ids["segmentation"])),
        (at("training"), lambda: stack.kill(ids["trainer"])),
        (at("training", 2), lambda: stack.kill(ids["gateway"])),
        (at("training", 3), lambda: stack.kill(ids["minio"])),
        (at("training", 4), lambda: stack.kill(ids["postgres"])),
        (at("rendering"), lambda: stack.kill(ids["renderer"])),
    )
    options = OPTIONS.model_copy(update={"iterations": 30})
    remote.by_http(stack.door, pair, tmp_path / "out.mp4", options, faults, fewer=3)
    remote.check_result(tmp_path / "out.mp4")
    assert faults.left == 0
    for service in (*STAGES, "gateway", "minio", "postgres"):
        stack.wait_until_healthy(service, 1)
    restarted = {name for name, each in ids.items() if name != "pose" and stack.inspect(each)["RestartCount"] > 0}
    assert restarted == set(ids) - {"pose", "normalization"}


def test_what_is_away_for_a_minute_or_hangs_costs_time_and_nothing_else(
    stack: Stack, pair: SyntheticPair, tmp_path: Path
) -> None:
    names = ("minio", "postgres", "segmentation", "trainer", "renderer")
    ids = {name: stack.containers(name)[0] for name in names}
    faults = Once(
        (at("pose"), lambda: stack.stop_for(ids["minio"], AWAY_SECONDS)),
        (at("segmentation"), lambda: stack.freeze_for(ids["segmentation"], HANGING_SECONDS)),
        (at("training"), lambda: stack.stop_for(ids["postgres"], AWAY_SECONDS)),
        (at("training", 8), lambda: stack.freeze_for(ids["trainer"], HANGING_SECONDS)),
        (at("rendering"), lambda: stack.cut_off_for(ids["renderer"], "renderer", AWAY_SECONDS)),
    )
    options = OPTIONS.model_copy(update={"iterations": 60})
    remote.by_grpc(stack.door, pair, tmp_path / "out.mp4", options, faults, fewer=5)
    remote.check_result(tmp_path / "out.mp4")
    assert faults.left == 0
    for service in names:
        stack.wait_until_healthy(service, 1)


def test_a_gateway_that_is_started_elsewhere_takes_its_transfers_up(
    stack: Stack, pair: SyntheticPair, tmp_path: Path
) -> None:
    first = stack.containers("gateway")
    moves = Once(
        (at("pose"), lambda: stack.replace("gateway")),
        (at("training", 4), lambda: stack.replace("gateway")),
        (at("rendering"), lambda: stack.replace("gateway")),
    )
    options = OPTIONS.model_copy(update={"iterations": 30})
    remote.by_grpc(stack.door, pair, tmp_path / "out.mp4", options, moves, fewer=6)
    remote.check_result(tmp_path / "out.mp4")
    assert moves.left == 0
    assert stack.containers("gateway") != first
    stack.wait_until_healthy("gateway", 1)


def test_a_store_that_is_busy_and_slow(stack: Stack, pair: SyntheticPair, tmp_path: Path) -> None:
    words = (str(BUSY_SHARE), str(DELAY_SECONDS), str(BYTES_A_SECOND))
    with stack.unreliable_store(BUSY_SECONDS, *words) as name:
        remote.by_grpc(stack.door, pair, tmp_path / "out.mp4", OPTIONS, lambda _: None, fewer=7)
        remote.check_result(tmp_path / "out.mp4")
        refused, passed = map(int, docker("logs", "--tail", "1", name).split())
    assert passed > 100, "the transfer did not go through it"
    assert refused > BUSY_SHARE * passed / 2
    stack.wait_until_healthy("minio", 1)


def test_a_store_without_room_is_said_and_room_is_enough(stack: Stack, pair: SyntheticPair, tmp_path: Path) -> None:
    with ExitStack() as filled:
        once = Once((at("pose", 2), lambda: filled.enter_context(stack.full_store())))
        with pytest.raises(AssertionError, match=StorageFull.reason) as told:
            remote.by_http(stack.door, pair, tmp_path / "out.mp4", OPTIONS, once, fewer=8)
        assert "free some space" in str(told.value)
        assert once.left == 0
        kept = written(stack)
    remote.by_http(stack.door, pair, tmp_path / "out.mp4", OPTIONS, lambda _: None, fewer=8)
    remote.check_result(tmp_path / "out.mp4")
    after = written(stack)
    assert {name: after.get(name) for name in kept} == kept  # nothing that was done is done again


def written(stack: Stack) -> dict[Path, int]:
    """When each object of a finished artifact was written, ns."""
    found = stack.store_disk.glob("understudy/artifacts/*/*/*/xl.meta")
    return {path: path.stat().st_mtime_ns for path in found}
