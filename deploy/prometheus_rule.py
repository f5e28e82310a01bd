"""Writes the rules of `prometheus/` as the Prometheus operator takes them: `python -m deploy.prometheus_rule`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

RULES: Final = Path(__file__).parent / "prometheus"
FILE: Final = Path(__file__).parents[1] / "k8s" / "components" / "monitoring" / "understudy-prometheusrule.yaml"
_NAMES: Final = ("recording.yml", "alerts.yml")
_HEAD: Final = "# Written by python -m deploy.prometheus_rule from deploy/prometheus; promtool tests them there.\n"


def document() -> str:
    """The whole file."""
    groups = [group for name in _NAMES for group in yaml.safe_load((RULES / name).read_text())["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "understudy"},
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.safe_dump(rule, sort_keys=False, width=120)


def main() -> None:
    """Writes the file."""
    FILE.write_text(document())


if __name__ == "__main__":
    main()
