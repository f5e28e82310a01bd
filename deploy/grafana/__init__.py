"""Grafana's dashboards: described in `panels.py`, written by `python -m deploy.grafana.generate`."""
