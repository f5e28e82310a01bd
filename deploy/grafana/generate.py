"""Writes Grafana's JSON from `panels.py`: `python -m deploy.grafana.generate [FOLDER]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from deploy.grafana.panels import DASHBOARDS, Dashboard, Panel

FOLDER: Final = Path(__file__).parent / "dashboards"
_SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}  # provisioning/datasources
_WIDTH = 24
_SIZES: Final = {"stat": (4, 4), "timeseries": (12, 8)}


def to_json(dashboard: Dashboard) -> str:
    """The dashboard as Grafana takes it, the same bytes for the same table."""
    panels, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(dashboard.panels, 1):
        width, tall = _SIZES[panel.kind]
        if x + width > _WIDTH or (height and tall != height):
            x, y, height = 0, y + height, 0
        panels.append(_panel(panel, number, {"x": x, "y": y, "w": width, "h": tall}))
        x, height = x + width, tall
    page = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["understudy"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["understudy"], "title": "Understudy", "asDropdown": True}],
        "panels": panels,
    }
    return json.dumps(page, indent=1) + "\n"


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    description = f"Empty while {panel.may_be_empty}." if panel.may_be_empty else ""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": targets,
    }


def main() -> None:
    """Writes one file a dashboard."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for dashboard in DASHBOARDS:
        (folder / f"{dashboard.uid}.json").write_text(to_json(dashboard))


if __name__ == "__main__":
    main()
