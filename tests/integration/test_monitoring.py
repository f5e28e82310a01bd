"""Every panel's query and every rule, run by a real Prometheus that scrapes the stack during a transfer."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

from deploy.grafana.panels import queries
from gateway.cli.client import GatewayClient
from gateway.cli.home import Home
from gateway.cli.stack import Stack
from gateway.resources import ClipUse, State, TransferOptions, TransferRequest
from services.common.synthetic import SyntheticPair
from tests.repo.tree import ROOT
from tests.support.prometheus import Prometheus, running

RULES = [ROOT / "deploy" / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
WAIT_SECONDS = 60.0


def empty(prometheus: Prometheus) -> list[str]:
    """Panels that show nothing, of those that must show something."""
    return [
        f"{uid} / {panel.title}: {query}"
        for uid, panel, query in queries()
        if not prometheus.query(query) and not panel.may_be_empty
    ]


def test_every_panel_has_data_and_every_rule_works_during_a_transfer(pair: SyntheticPair, tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with Stack(home, lambda _line: None, metrics=True) as stack:
        targets = {name: urlsplit(url).netloc for name, url in stack.metrics_urls.items()}
        client = GatewayClient(stack.url, stack.check)
        client.get("/healthz")
        with running(folder, RULES, targets) as prometheus:
            request = TransferRequest(
                source=ClipUse(clip_id=client.upload(pair.source).id),
                target=ClipUse(clip_id=client.upload(pair.target).id),
                options=TransferOptions(preset="preview", iterations=40),
            )
            # some metrics have their first value only at the end, and a rate needs one before that
            ended = list(client.watch(client.create_transfer(request).id))[-1]
            assert ended.state is State.SUCCEEDED, ended.failure
            deadline = time.monotonic() + WAIT_SECONDS
            while (missing := empty(prometheus)) and time.monotonic() < deadline:
                time.sleep(1)
            assert not missing, "\n".join(missing)
            rules = prometheus.rules()
            firing = prometheus.query('ALERTS{alertstate="firing"}')
        client.close()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    assert len([rule for rule in rules if rule["type"] == "alerting"]) >= 15
    assert firing == []
