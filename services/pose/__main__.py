"""Starts pose: `python -m services.pose`."""

from __future__ import annotations

from understudy.v1 import pose_pb2_grpc

from services.common.entry import enter
from services.common.server import Service, open_runner, run
from services.pose.config import PoseSettings
from services.pose.servicer import PoseServicer
from services.pose.worker import Pose


def main() -> None:
    """Serves until it is told to stop."""
    settings = PoseSettings()  # filled from the environment
    runner = open_runner(settings)
    worker = Pose(runner.artifacts, settings.weights_dir, settings.pose_backend, settings.threads)
    servicer = PoseServicer(runner, worker)
    service = Service(
        name="pose",
        grpc_name="understudy.v1.PoseService",
        register=lambda server: pose_pb2_grpc.add_PoseServiceServicer_to_server(servicer, server),
        load=worker.load, runner=runner,
    )  # fmt: skip
    run(service, settings)


if __name__ == "__main__":
    enter(main)
