"""Every metric of the services, declared once. Prefix understudy_, base units, bounded labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.common.stage import Done

_CALL_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1200, 3600)


class ServiceMetrics:
    """The metrics of one process, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.calls = Counter("understudy_calls_total", "gRPC calls ended.", ["method", "code"], registry=registry)
        self.call_seconds = Histogram(
            "understudy_call_duration_seconds",
            "Duration of gRPC calls.",
            ["method"],
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self.calls_running = Gauge("understudy_calls_running", "gRPC calls in progress.", ["method"], registry=registry)
        self.artifacts = Counter(
            "understudy_artifacts_total",
            "Stage results returned: computed, or found committed.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.ready = Gauge("understudy_ready", "1 when the model is loaded and the store answers.", registry=registry)

    def count_result(self, done: Done) -> None:
        self.artifacts.labels(done.artifact.ref.kind, "found" if done.cached else "computed").inc()
