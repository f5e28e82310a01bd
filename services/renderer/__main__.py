"""Starts the renderer: `python -m services.renderer`."""

from __future__ import annotations

from understudy.v1 import renderer_pb2_grpc

from services.common.entry import enter
from services.common.server import Service, open_runner, run
from services.renderer.config import RendererSettings
from services.renderer.encoding import Encoder
from services.renderer.servicer import RendererServicer
from services.renderer.worker import Renderer


def main() -> None:
    """Serves until it is told to stop."""
    settings = RendererSettings()  # filled from the environment
    runner = open_runner(settings)
    renderer = Renderer(runner.artifacts, settings.renderer_threads, settings.renderer_runtime, settings.cache_dir)
    servicer = RendererServicer(runner, renderer, Encoder(runner.artifacts))
    service = Service(
        name="renderer", grpc_name="understudy.v1.RendererService",
        register=lambda server: renderer_pb2_grpc.add_RendererServiceServicer_to_server(servicer, server),
        load=renderer.load, runner=runner,
    )  # fmt: skip
    run(service, settings)


if __name__ == "__main__":
    enter(main)
