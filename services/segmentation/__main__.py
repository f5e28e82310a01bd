"""Starts segmentation: `python -m services.segmentation`."""

from __future__ import annotations

from understudy.v1 import segmentation_pb2_grpc

from services.common.entry import enter
from services.common.server import Service, open_runner, run
from services.segmentation.config import SegmentationSettings
from services.segmentation.servicer import SegmentationServicer
from services.segmentation.worker import Segmentation


def main() -> None:
    """Serves until it is told to stop."""
    settings = SegmentationSettings()  # filled from the environment
    runner = open_runner(settings)
    worker = Segmentation(runner.artifacts, settings.weights_dir, settings.segmentation_backend, settings.threads)
    servicer = SegmentationServicer(runner, worker)
    service = Service(
        name="segmentation",
        grpc_name="understudy.v1.SegmentationService",
        register=lambda server: segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(servicer, server),
        load=worker.load, runner=runner,
    )  # fmt: skip
    run(service, settings)


if __name__ == "__main__":
    enter(main)
