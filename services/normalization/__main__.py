"""Starts normalization: `python -m services.normalization`."""

from __future__ import annotations

from understudy.v1 import normalization_pb2_grpc

from services.common.entry import enter
from services.common.server import Service, open_runner, run
from services.normalization.config import NormalizationSettings
from services.normalization.servicer import NormalizationServicer
from services.normalization.worker import Normalization


def main() -> None:
    """Serves until it is told to stop."""
    settings = NormalizationSettings()  # filled from the environment
    runner = open_runner(settings)
    servicer = NormalizationServicer(runner, Normalization(runner.artifacts))
    service = Service(
        name="normalization",
        grpc_name="understudy.v1.NormalizationService",
        register=lambda server: normalization_pb2_grpc.add_NormalizationServiceServicer_to_server(servicer, server),
        load=lambda: None,  # it has no model
        runner=runner,
    )
    run(service, settings)


if __name__ == "__main__":
    enter(main)
