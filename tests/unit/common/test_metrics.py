"""Metrics: one table says which process exposes which; names and labels follow the rules."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from gateway.metrics import GatewayMetrics
from services.common.artifacts import Artifacts
from services.common.gpu import GpuCollector, Gpus, GpuState
from services.common.metrics import STAGE_OF_KIND, ServiceMetrics
from services.common.stage import Emitted, Job
from services.common.store import MeasuredStore
from tests.repo.tree import ROOT, parsed, python_files
from tests.support.stages import RECIPE, Gate, runner_of

SERVICE, GATEWAY = {"service"}, {"gateway"}
EXPOSED = {
    "understudy_calls": SERVICE | GATEWAY,
    "understudy_call_duration_seconds": SERVICE | GATEWAY,
    "understudy_calls_running": SERVICE | GATEWAY,
    "understudy_store_operation_duration_seconds": SERVICE | GATEWAY,
    "understudy_ready": SERVICE,
    "understudy_stage_results": SERVICE,
    "understudy_stage_duration_seconds": SERVICE,
    "understudy_stage_work": SERVICE,
    "understudy_frames": SERVICE,
    "understudy_training_iterations": SERVICE,
    "understudy_training_loss": SERVICE,
    "understudy_transfers": GATEWAY,
    "understudy_transfers_ended": GATEWAY,
    "understudy_transfer_duration_seconds": GATEWAY,
    "understudy_shards": GATEWAY,
    "understudy_retries": GATEWAY,
    "understudy_workflows": GATEWAY,
    "understudy_dependency_up": GATEWAY,
    "understudy_upload_bytes": GATEWAY,
}
LABELS = {"stage", "outcome", "method", "code", "service", "operation", "state", "role", "le"}
REGISTRIES = {"service": ServiceMetrics, "gateway": GatewayMetrics}


def exposed(process: str) -> list[Metric]:
    return list(REGISTRIES[process](CollectorRegistry()).registry.collect())


@pytest.mark.parametrize("process", REGISTRIES)
def test_each_process_exposes_what_the_table_says(process: str) -> None:
    found = {metric.name for metric in exposed(process) if not metric.name.startswith("understudy_gpu_")}
    assert found == {name for name, processes in EXPOSED.items() if process in processes}


@pytest.mark.parametrize("process", REGISTRIES)
def test_names_say_their_unit_and_labels_are_bounded(process: str) -> None:
    for metric in exposed(process):
        assert re.fullmatch(r"understudy_[a-z_]+", metric.name)
        assert metric.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)(_|$)", metric.name)
        for sample in metric.samples:
            assert set(sample.labels) <= LABELS
            assert metric.type != "counter" or sample.name.endswith(("_total", "_created"))


def test_every_kind_of_artifact_has_its_stage() -> None:
    kinds = set()
    for path in python_files("services"):
        if path.parts[1] == "common":
            continue
        kinds |= set(re.findall(r'Recipe\(\s*"([a-z_]+)"', (ROOT / path).read_text()))
        assert parsed(path)
    assert kinds <= set(STAGE_OF_KIND)


def value(metrics: ServiceMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_a_computation_is_counted_from_waiting_to_its_outcome(artifacts: Artifacts) -> None:
    metrics = ServiceMetrics(CollectorRegistry())
    gate = Gate({"frame_count": 64})
    async with runner_of(artifacts) as runner:
        runner.observer = metrics.stages
        call = asyncio.create_task(runner.result(RECIPE, gate))
        await gate.reached()
        assert value(metrics, "understudy_stage_work", stage="plate", state="running") == 1
        assert value(metrics, "understudy_stage_work", stage="plate", state="waiting") == 0
        assert value(metrics, "understudy_frames_total", stage="plate") == 1
        gate.released.set()
        await call
        await runner.result(RECIPE, gate)
        failing = Gate(fail=ValueError("no"))
        failing.released.set()
        with pytest.raises(ValueError, match="no"):
            await runner.result(type(RECIPE)("plate", "segmentation", 2), failing)
    outcomes = {name: value(metrics, "understudy_stage_results_total", stage="plate", outcome=name)
                for name in ("computed", "found", "failed")}  # fmt: skip
    assert outcomes == {"computed": 1, "found": 1, "failed": 1}
    assert value(metrics, "understudy_frames_total", stage="plate") == 65  # what the facts say, and the failed one's
    assert value(metrics, "understudy_stage_duration_seconds_count", stage="plate") == 1
    assert value(metrics, "understudy_stage_work", stage="plate", state="running") == 0


def test_work_of_an_earlier_run_does_not_count_again() -> None:
    counted: list[tuple[str, int]] = []
    job = Job(worked=lambda unit, more: counted.append((unit, more)))
    job.progress(0, 800, "iterations")
    job.goes_on(500, "iterations")
    for step in (510, 505, 520):  # a restart of the loop does not count down
        job.progress(step, 800, "iterations")
    assert counted == [("iterations", 10), ("iterations", 10)]


def test_losses_are_summed() -> None:
    metrics = ServiceMetrics(CollectorRegistry())
    metrics.stages.emitted(Emitted({"losses": {"colour": 0.25, "alpha": 0.5}}).facts)
    metrics.stages.emitted({"first_frame": 0})
    assert value(metrics, "understudy_training_loss") == 0.75


def test_store_operations_are_timed_by_outcome(artifacts: Artifacts) -> None:
    metrics = ServiceMetrics(CollectorRegistry())
    store = MeasuredStore(artifacts.store)
    store.observe = metrics.observe_store
    store.put("a", b"1")
    assert store.get("a") == b"1"
    with pytest.raises(Exception, match="no object"):
        store.get("b")
    for operation, outcome in (("put", "ok"), ("get", "ok"), ("get", "missing")):
        name = "understudy_store_operation_duration_seconds_count"
        assert value(metrics, name, operation=operation, outcome=outcome) == 1


class _TwoCards(Gpus):
    def __init__(self) -> None:
        """No library: what `state` gives is known."""

    def state(self) -> GpuState:
        return GpuState(3 << 30, 160 << 30, 0.5)


def test_gpus_are_told_where_there_are_any() -> None:
    registry = CollectorRegistry()
    registry.register(GpuCollector(_TwoCards()))
    assert registry.get_sample_value("understudy_gpu_memory_used_bytes") == 3 << 30
    assert registry.get_sample_value("understudy_gpu_memory_bytes") == 160 << 30
    assert registry.get_sample_value("understudy_gpu_use_ratio") == 0.5
    with pytest.raises(OSError, match="no-such"):
        Gpus("no-such-library.so")
