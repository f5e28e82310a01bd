"""Starts the trainer: `python -m services.trainer`."""

from __future__ import annotations

from understudy.v1 import trainer_pb2_grpc

from services.common.entry import enter
from services.common.server import Service, open_runner, run
from services.trainer.config import TrainerSettings
from services.trainer.examiner import Examiner
from services.trainer.servicer import TrainerServicer
from services.trainer.worker import Trainer


def main() -> None:
    """Serves until it is told to stop."""
    settings = TrainerSettings()  # filled from the environment
    runner = open_runner(settings)
    worker = Trainer.from_settings(runner.artifacts, settings)
    servicer = TrainerServicer(runner, worker, Examiner(runner.artifacts, settings.trainer_lpips_weights))
    service = Service(
        name="trainer", grpc_name="understudy.v1.TrainerService",
        register=lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(servicer, server),
        load=worker.load, runner=runner,
    )  # fmt: skip
    run(service, settings)


if __name__ == "__main__":
    enter(main)
