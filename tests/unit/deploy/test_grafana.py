"""Dashboards are what their table says, and ask only for metrics that exist."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client import CollectorRegistry

from deploy.grafana.generate import FOLDER, to_json
from deploy.grafana.panels import DASHBOARDS, Dashboard, queries
from gateway.metrics import GatewayMetrics
from services.common.metrics import ServiceMetrics
from tests.repo.tree import ROOT, STAGES

RULES = (ROOT / "deploy" / "prometheus" / "recording.yml").read_text()
RECORDED = set(re.findall(r"record: (\S+)", RULES))
GPU = {"understudy_gpu_memory_used_bytes", "understudy_gpu_memory_bytes", "understudy_gpu_use_ratio"}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_what_is_committed_is_what_the_table_says(dashboard: Dashboard) -> None:
    written = (FOLDER / f"{dashboard.uid}.json").read_text()
    assert written == to_json(dashboard), "run python -m deploy.grafana.generate"
    places = [panel["gridPos"] for panel in json.loads(written)["panels"]]
    cells = [
        (x, y)
        for each in places
        for x in range(each["x"], each["x"] + each["w"])
        for y in range(each["y"], each["y"] + each["h"])
    ]
    assert len(cells) == len(set(cells)), "panels lie over each other"
    assert max(x for x, _ in cells) < 24


def test_no_other_dashboard_is_committed() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {each.uid for each in DASHBOARDS}
    assert {each.uid.removeprefix("understudy-") for each in DASHBOARDS} == {
        "overview", "training", *(set(STAGES) - {"trainer"}),
    }  # fmt: skip


def known_metrics() -> set[str]:
    names = GPU | {"up", "ALERTS"}
    for kind in (ServiceMetrics, GatewayMetrics):
        for metric in kind(CollectorRegistry()).registry.collect():
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(metric.type, ("",))
            names |= {f"{metric.name}{suffix}" for suffix in suffixes}
    return names


def asked(query: str) -> set[str]:
    """Names of metrics in a query of ours."""
    plain = re.sub(r'"[^"]*"|\[[^]]*\]|(?:by|on) \([^)]*\)', "", query)
    return {name for name in re.findall(r"[a-zA-Z_:][\w:]*", plain) if "understudy" in name or name == "up"}


def test_every_query_asks_for_metrics_that_exist() -> None:
    known = known_metrics() | RECORDED
    for uid, panel, query in queries():
        assert asked(query) <= known or "ALERTS" in query, (uid, panel.title, asked(query) - known)
    recorded = re.findall(r"understudy_\w+", re.sub(r"record: \S+", "", RULES))
    assert set(recorded) <= known
