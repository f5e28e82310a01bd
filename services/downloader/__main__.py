"""Starts the downloader: `python -m services.downloader`."""

from __future__ import annotations

from services.common.entry import enter
from services.common.server import open_runner, run
from services.downloader.config import DownloaderSettings
from services.downloader.servicer import make_service


def main() -> None:
    """Serves until it is told to stop."""
    settings = DownloaderSettings()
    run(make_service(open_runner(settings), settings), settings)


if __name__ == "__main__":
    enter(main)
