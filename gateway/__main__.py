"""Starts the gateway: `python -m gateway`, settings by UNDERSTUDY_* variables."""

from __future__ import annotations

from gateway.config import GatewaySettings
from gateway.server import run
from services.common.entry import enter


def main() -> None:
    """Serves until SIGTERM, SIGINT or the end of the process that started it."""
    run(GatewaySettings())


if __name__ == "__main__":
    enter(main)
