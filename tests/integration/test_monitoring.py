"""The stack observed during one transfer: a real Prometheus, an OpenTelemetry collector, its logs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.grafana.panels import queries
from gateway.cli.client import GatewayClient
from gateway.cli.home import Home
from gateway.cli.stack import GATEWAY, Stack
from gateway.config import STAGE_SERVICES
from gateway.resources import ClipUse, State, Transfer, TransferOptions, TransferRequest
from services.common.synthetic import SyntheticPair
from tests.repo.tree import ROOT
from tests.support.collector import Span, collecting
from tests.support.prometheus import Prometheus, running

RULES = [ROOT / "deploy" / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
WAIT_SECONDS = 60.0


@dataclass
class Observed:
    """What was seen of a transfer that ended well."""

    transfer: Transfer
    missing: list[str]
    rules: list[dict[str, Any]]
    firing: list[dict[str, Any]]
    spans: list[Span]
    logs: dict[str, list[dict[str, Any]]]


def empty(prometheus: Prometheus) -> list[str]:
    """Panels that show nothing, of those that must show something."""
    return [
        f"{uid} / {panel.title}: {query}"
        for uid, panel, query in queries()
        if not prometheus.query(query) and not panel.may_be_empty
    ]


@pytest.fixture(scope="module")
def observed(pair: SyntheticPair, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    home = Home.open(tmp_path_factory.mktemp("home"))
    with collecting() as collector:
        settings = {"UNDERSTUDY_OTLP_ENDPOINT": collector.endpoint}
        with Stack(home, lambda _line: None, metrics=True, settings=settings) as stack:
            targets = {name: urlsplit(url).netloc for name, url in stack.metrics_urls.items()}
            client = GatewayClient(stack.url, stack.check)
            client.get("/healthz")
            with running(tmp_path_factory.mktemp("prometheus"), RULES, targets) as prometheus:
                request = TransferRequest(
                    source=ClipUse(clip_id=client.upload(pair.source).id),
                    target=ClipUse(clip_id=client.upload(pair.target).id),
                    options=TransferOptions(preset="preview", iterations=40),
                )
                ended = list(client.watch(client.create_transfer(request).id))[-1]
                assert ended.state is State.SUCCEEDED, ended.failure
                deadline = time.monotonic() + WAIT_SECONDS
                while (missing := empty(prometheus)) and time.monotonic() < deadline:
                    time.sleep(1)  # some have their first value at the transfer's end
                rules, firing = prometheus.rules(), prometheus.query('ALERTS{alertstate="firing"}')
            client.close()
        spans = collector.spans
    return Observed(ended, missing, rules, firing, spans, logs_of(home))


def logs_of(home: Home) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for name in (GATEWAY, *STAGE_SERVICES):
        lines = (home.logs / f"{name}.log").read_text().splitlines()
        found[name] = [json.loads(line) for line in lines if line.startswith("{")]
    return found


def test_every_panel_shows_something(observed: Observed) -> None:
    assert not observed.missing, "\n".join(observed.missing)


def test_every_rule_works_and_no_alert_fires(observed: Observed) -> None:
    assert {rule["name"]: rule.get("lastError") for rule in observed.rules if rule["health"] != "ok"} == {}
    assert len([rule for rule in observed.rules if rule["type"] == "alerting"]) >= 15
    assert observed.firing == []


def test_one_trace_leads_through_the_gateway_and_every_service(observed: Observed) -> None:
    mine = [span for span in observed.spans if span.trace_id == observed.transfer.id]
    assert {span.service for span in mine} == {f"understudy-{name}" for name in (GATEWAY, *STAGE_SERVICES)}
    top = [span for span in mine if not span.parent]
    assert [(span.service, span.name) for span in top] == [("understudy-gateway", "transfer")]
    known = {span.span_id for span in mine}
    assert all(span.parent in known for span in mine if span.parent)
    assert {"Ingest", "EstimatePoses", "SegmentFrames", "NormalizePoses", "Train", "RenderFrames"} <= {
        span.name for span in mine
    }


def test_log_lines_carry_the_trace(observed: Observed) -> None:
    everything = [line for lines in observed.logs.values() for line in lines]
    assert all("service" in line for line in everything)
    lines = [line for line in everything if line.get("transfer_id")]
    of_services = [line for line in lines if line["service"] != GATEWAY]
    assert of_services
    assert {line["trace_id"] for line in of_services} == {observed.transfer.id}
    assert {"trainer"} <= {line["service"] for line in of_services}  # from the thread that computes, too
