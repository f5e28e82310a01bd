"""Starts the downloader: `python -m services.downloader`."""

from __future__ import annotations

from services.common.server import open_runner, run
from services.downloader.config import DownloaderSettings
from services.downloader.servicer import make_service

if __name__ == "__main__":
    settings = DownloaderSettings()
    run(make_service(open_runner(settings), settings), settings)
