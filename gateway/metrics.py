"""Metrics that only the gateway knows, declared once; services/common/metrics.py has those that it shares."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.config import STAGE_SERVICES
from gateway.resources import State
from services.common.metrics import CallMetrics

SHARDED_STAGES: Final = ("pose", "segmentation", "rendering")
WORKFLOW_STATES: Final = ("ENQUEUED", "PENDING")
_TRANSFER_BUCKETS = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200)


class GatewayMetrics(CallMetrics):
    """The metrics of a gateway's process, in `registry`.

    What is counted in the database (transfers, workflows) is the same in every gateway that shares it: take the
    maximum over gateways, never the sum.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.transfers = Gauge("understudy_transfers", "Transfers that have not ended.", ["state"], registry=registry)
        self.transfers_ended = Counter(
            "understudy_transfers_ended_total", "Transfers that this gateway ended.", ["outcome"], registry=registry
        )
        self.transfer_seconds = Histogram(
            "understudy_transfer_duration_seconds",
            "Time at work of ended transfers.",
            ["outcome"],
            buckets=_TRANSFER_BUCKETS,
            registry=registry,
        )
        self.shards = Gauge(
            "understudy_shards",
            "Shards of this gateway's transfers: waiting for their turn, or in flight to a worker.",
            ["stage", "state"],
            registry=registry,
        )
        self.retries = Counter(
            "understudy_retries_total", "Stage calls that are made again.", ["stage", "code"], registry=registry
        )
        self.workflows = Gauge(
            "understudy_workflows", "DBOS's backlog: workflows enqueued and pending.", ["state"], registry=registry
        )
        self.up = Gauge(
            "understudy_dependency_up", "1 while a part that the gateway needs answers.", ["service"], registry=registry
        )
        self.upload_bytes = Counter("understudy_upload_bytes_total", "Bytes of videos taken in.", registry=registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        for state in State:
            if state.ended:
                self.transfers_ended.labels(state.value.lower())
            else:
                self.transfers.labels(state.value.lower())
        for stage in SHARDED_STAGES:
            for turn in ("waiting", "in_flight"):
                self.shards.labels(stage, turn)
        for workflow in WORKFLOW_STATES:
            self.workflows.labels(workflow.lower())
        for part in (*STAGE_SERVICES, "store", "database"):
            self.up.labels(part)

    def transfer_ended(self, state: State, elapsed_seconds: float) -> None:
        self.transfers_ended.labels(state.value.lower()).inc()
        self.transfer_seconds.labels(state.value.lower()).observe(elapsed_seconds)
