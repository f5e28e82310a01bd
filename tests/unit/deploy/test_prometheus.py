"""Rules and alerts, by Prometheus's own tool; the runbook has a section for each alert."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy import prometheus_rule
from tests.repo.tree import ROOT
from tests.support.prometheus import required_program

FOLDER = ROOT / "deploy" / "prometheus"
ALERTS = (FOLDER / "alerts.yml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)


def promtool(*arguments: str | Path) -> str:
    command = [required_program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_configuration_and_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "recording.yml", "alerts.yml")


def test_alerts_are_silent_and_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests.yml")


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_seen_silent_firing_and_silent_in_health(name: str) -> None:
    cases = (FOLDER / "tests.yml").read_text()
    assert len(re.findall(rf"alertname: {name}, exp_alerts: \[\]", cases)) >= 3  # its own case, in health, at rest
    assert re.search(rf"alertname: {name}\n +exp_alerts:\n", cases)


def test_every_alert_leads_to_its_section_of_the_runbook() -> None:
    addresses = dict(zip(NAMES, re.findall(r"runbook_url: (\S+)", ALERTS), strict=True))
    for name, address in addresses.items():
        path, _, anchor = address.partition("#")
        assert anchor == name.lower()
        section = re.search(rf"(?m)^## {name}\n(.+(?:\n.+)*)", (ROOT / path).read_text())
        assert section, f"{path} has no section {name}"
        assert "*Do*" in section[1]


def test_alerts_say_how_severe_they_are_and_what_they_mean() -> None:
    assert len(re.findall(r"labels: \{severity: (?:critical|warning)\}", ALERTS)) == len(NAMES)
    assert len(re.findall(r'summary: ".+\."', ALERTS)) == len(NAMES)


def test_a_cluster_has_the_same_rules() -> None:
    assert prometheus_rule.FILE.read_text() == prometheus_rule.document(), "run python -m deploy.prometheus_rule"
    groups = yaml.safe_load(prometheus_rule.FILE.read_text())["spec"]["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule} == set(NAMES)
