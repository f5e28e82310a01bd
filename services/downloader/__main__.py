"""Starts the downloader: `python -m services.downloader`."""

from __future__ import annotations

from understudy.v1 import downloader_pb2_grpc

from services.common.server import Service, open_runner, run
from services.downloader.config import DownloaderSettings
from services.downloader.servicer import DownloaderServicer
from services.downloader.worker import Downloader


def main() -> None:
    """Serves until it is told to stop."""
    settings = DownloaderSettings()  # type: ignore[call-arg]  # filled from the environment
    runner = open_runner(settings)
    servicer = DownloaderServicer(runner, Downloader(runner.artifacts, settings))
    service = Service(
        name="downloader",
        grpc_name="understudy.v1.DownloaderService",
        register=lambda server: downloader_pb2_grpc.add_DownloaderServiceServicer_to_server(servicer, server),
        load=lambda: None,
        runner=runner,
    )
    run(service, settings)


if __name__ == "__main__":
    main()
