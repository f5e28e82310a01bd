"""What the dashboards show, as a table. `generate.py` makes Grafana's JSON of it; tests run every query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Grafana's names of units.
SECONDS, PER_SECOND, FRAMES, BYTES, SHARE, COUNT = "s", "ops", "fps", "bytes", "percentunit", "short"


@dataclass(frozen=True)
class Panel:
    """One picture. queries: PromQL by legend. kind: "timeseries" or "stat".

    may_be_empty: why there is nothing to show while all is well; empty when there is always something at work.
    """

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    may_be_empty: str = ""


@dataclass(frozen=True)
class Dashboard:
    """One page. uid: its name in addresses and of its file."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _calls(service: str) -> tuple[Panel, ...]:
    own = f'service="{service}"'
    return (
        Panel("Calls", PER_SECOND, {"{{method}}": f"service_method:understudy_calls:rate5m{{{own}}}"}),
        Panel("Share of calls that fail", SHARE, {"share": f"service:understudy_call_errors:ratio5m{{{own}}}"}),
        Panel(
            "Duration of calls, 95th percentile",
            SECONDS,
            {"{{method}}": f"service_method:understudy_call_duration_seconds:p95_5m{{{own}}}"},
        ),
        Panel(
            "Calls in progress", COUNT, {"{{method}}": f"sum by (method) (understudy_calls_running{{{own}}})"}
        ),
    )  # fmt: skip


def _work(stages: str) -> tuple[Panel, ...]:
    own = f'stage=~"{stages}"'
    return (
        Panel(
            "Computations, waiting and running",
            COUNT,
            {"{{stage}} {{state}}": f"sum by (stage, state) (understudy_stage_work{{{own}}})"},
        ),
        Panel("Frames", FRAMES, {"{{stage}}": f"stage:understudy_frames:rate5m{{{own}}}"}),
        Panel(
            "Results by outcome",
            PER_SECOND,
            {"{{stage}} {{outcome}}": f"sum by (stage, outcome) (rate(understudy_stage_results_total{{{own}}}[5m]))"},
        ),
        Panel(
            "Duration of computations, 95th percentile",
            SECONDS,
            {"{{stage}}": f"stage:understudy_stage_duration_seconds:p95_5m{{{own}}}"},
        ),
    )


def _workers(service: str) -> tuple[Panel, ...]:
    return (
        Panel("Workers that answer", COUNT, {"workers": f'sum(up{{service="{service}"}})'}, kind="stat"),
        Panel("Workers that are ready", COUNT, {"ready": f'sum(understudy_ready{{service="{service}"}})'}, kind="stat"),
    )


_SHARDS = Panel("Shards", COUNT, {"{{stage}} {{state}}": "stage_state:understudy_shards:sum"})
_GPU: Final = "there is no GPU"
_GPUS = (
    Panel(
        "GPU memory",
        SHARE,
        {"{{service}}": "understudy_gpu_memory_used_bytes / understudy_gpu_memory_bytes"},
        may_be_empty=_GPU,
    ),
    Panel("GPU use", SHARE, {"{{service}}": "understudy_gpu_use_ratio"}, may_be_empty=_GPU),
)

OVERVIEW = Dashboard(
    "understudy-overview",
    "Understudy: overview",
    (
        Panel("Transfers running", COUNT, {"running": 'state:understudy_transfers:max{state="running"}'}, kind="stat"),
        Panel("Transfers queued", COUNT, {"queued": 'state:understudy_transfers:max{state="queued"}'}, kind="stat"),
        Panel("Alerts firing", COUNT, {"alerts": 'count(ALERTS{alertstate="firing"}) or vector(0)'}, kind="stat"),
        Panel("What the gateway needs", COUNT, {"{{service}}": "min by (service) (understudy_dependency_up)"}),
        Panel("Transfers ended, last hour", COUNT, {"{{outcome}}": "outcome:understudy_transfers_ended:increase1h"}),
        Panel("Frames by stage", FRAMES, {"{{stage}}": "stage:understudy_frames:rate5m"}),
        _SHARDS,
        Panel("Workflows", COUNT, {"{{state}}": "state:understudy_workflows:max"}),
        Panel("Calls", PER_SECOND, {"{{service}}": "sum by (service) (service_method:understudy_calls:rate5m)"}),
        Panel("Share of calls that fail", SHARE, {"{{service}}": "service:understudy_call_errors:ratio5m"}),
        Panel(
            "Calls made again",
            PER_SECOND,
            {"{{stage}} {{code}}": "sum by (stage, code) (rate(understudy_retries_total[5m]))"},
            may_be_empty="nothing was made again",
        ),
        Panel(
            "Object store, 95th percentile",
            SECONDS,
            {"{{operation}}": "operation:understudy_store_operation_duration_seconds:p95_5m"},
        ),
        Panel("Videos taken in", BYTES, {"bytes a second": "sum(rate(understudy_upload_bytes_total[5m]))"}),
        Panel(
            "Time of transfers, median",
            SECONDS,
            {
                "{{outcome}}": "histogram_quantile(0.5, sum by (outcome, le) "
                "(increase(understudy_transfer_duration_seconds_bucket[1h])))"
            },
        ),
        *_GPUS,
    ),
)  # fmt: skip

TRAINING = Dashboard(
    "understudy-training",
    "Understudy: training",
    (
        *_workers("trainer"),
        Panel("Iterations", PER_SECOND, {"iterations a second": "understudy:training_iterations:rate5m"}),
        Panel("Loss", COUNT, {"{{instance}}": "understudy_training_loss"}),
        *(panel for panel in _work("training|evaluation") if panel.unit != FRAMES),
        *_calls("trainer"),
        *_GPUS,
    ),
)


def _stage(service: str, stages: str) -> Dashboard:
    panels = (*_workers(service), *_work(stages), *_calls(service))
    return Dashboard(f"understudy-{service}", f"Understudy: {service}", panels)


DASHBOARDS: Final = (
    OVERVIEW,
    _stage("downloader", "download"),
    _stage("pose", "pose|track"),
    _stage("segmentation", "camera|segmentation|plate"),
    _stage("normalization", "normalization"),
    _stage("renderer", "rendering|encoding"),
    TRAINING,
)


def queries() -> Iterator[tuple[str, Panel, str]]:
    """(dashboard, panel, PromQL) of everything that is shown."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries.values():
                yield dashboard.uid, panel, query
