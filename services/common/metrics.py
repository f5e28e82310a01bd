"""Every metric of the services, declared once. Prefix understudy_, base units, bounded labels.

A metric's labels are among stage, outcome, method, code, service, operation, state and role; none holds an id, so the
number of series does not grow with use. `gateway/metrics.py` adds what only the gateway knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.common.artifacts import Facts
from services.common.gpu import GpuCollector
from services.common.observer import Ended, StageObserver

CALL_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1200, 3600)
STORE_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)

STAGE_OF_KIND: Final = {
    "clip": "download",
    "frame_shard": "download",
    "pose_shard": "pose",
    "pose_track": "track",
    "people": "people",
    "camera_path": "camera",
    "matte_shard": "segmentation",
    "plate": "plate",
    "performer": "training",
    "heldout": "evaluation",
    "evaluation": "evaluation",
    "driven_track": "normalization",
    "rendered_shard": "rendering",
    "video": "encoding",
}


def stage_of(kind: str) -> str:
    """The stage that makes artifacts of this kind."""
    return STAGE_OF_KIND.get(kind, kind)


class CallMetrics:
    """Calls that a process answers, and its object store's: what services and gateway have in common.

    code: a gRPC status by name, or an HTTP status. method: "EstimatePoses", or "GET /v1/clips".
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("service", "method")
        self.registry = registry
        self.calls = Counter("understudy_calls_total", "Calls ended.", [*labels, "code"], registry=registry)
        self.call_seconds = Histogram(
            "understudy_call_duration_seconds", "Duration of calls.", labels, buckets=CALL_BUCKETS, registry=registry
        )
        self.calls_running = Gauge("understudy_calls_running", "Calls in progress.", labels, registry=registry)
        self.store_seconds = Histogram(
            "understudy_store_operation_duration_seconds",
            "Duration of operations on the object store. outcome: ok, missing or failed.",
            ["operation", "outcome"],
            buckets=STORE_BUCKETS,
            registry=registry,
        )

    def expect(self, service: str, methods: Iterable[str]) -> None:
        """Makes these methods' counters begin at zero: Prometheus sees no increase where a series begins at one."""
        for method in methods:
            self.calls.labels(service, method, "OK")
            self.call_seconds.labels(service, method)

    def observe_store(self, operation: str, outcome: str, seconds: float) -> None:
        self.store_seconds.labels(operation, outcome).observe(seconds)


class ServiceMetrics(CallMetrics):
    """The metrics of a stage service's process, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.stages = StageMetrics(registry)
        self.ready = Gauge("understudy_ready", "1 when the model is loaded and the store answers.", registry=registry)
        GpuCollector.register(registry)


class StageMetrics(StageObserver):
    """What a stage's computations do. Safe to use from several threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.results = Counter(
            "understudy_stage_results_total",
            "Results: computed, found committed, failed, or cancelled (a drained worker's too).",
            ["stage", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "understudy_stage_duration_seconds",
            "Duration of computations, from their start on.",
            ["stage"],
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self.work = Gauge(
            "understudy_stage_work",
            "Computations in this process, by state: waiting for a slot, or running.",
            ["stage", "state"],
            registry=registry,
        )
        self.frames = Counter("understudy_frames_total", "Frames worked through.", ["stage"], registry=registry)
        self.iterations = Counter("understudy_training_iterations_total", "Training iterations.", registry=registry)
        self.loss = Gauge("understudy_training_loss", "Sum of the newest mean training losses.", registry=registry)

    def waits(self, kind: str) -> None:
        for outcome in ("computed", "failed"):  # they begin at zero, so that the first one is an increase
            self.results.labels(stage_of(kind), outcome)
        self.work.labels(stage_of(kind), "waiting").inc()

    def begins(self, kind: str) -> None:
        self.work.labels(stage_of(kind), "waiting").dec()
        self.work.labels(stage_of(kind), "running").inc()

    def ends(self, kind: str, ended: Ended) -> None:
        stage = stage_of(kind)
        self.work.labels(stage, "running" if ended.begun else "waiting").dec()
        self.results.labels(stage, ended.outcome).inc()
        if ended.outcome == "computed":
            self.seconds.labels(stage).observe(ended.seconds)

    def found(self, kind: str) -> None:
        self.results.labels(stage_of(kind), "found").inc()

    def worked(self, kind: str, unit: str, more: int) -> None:
        if unit == "frames":
            self.frames.labels(stage_of(kind)).inc(more)
        elif unit == "iterations":
            self.iterations.inc(more)

    def emitted(self, facts: Facts) -> None:
        losses = facts.get("losses")
        if isinstance(losses, dict) and losses:
            self.loss.set(sum(losses.values()))
