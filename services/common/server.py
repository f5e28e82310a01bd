"""The server that every stage service is: gRPC, health, reflection, metrics, drain.

Health is SERVING only while the model is loaded and the store answers (grpc.health.v1). SIGTERM, or the end of the
process that started this one, turns it NOT_SERVING, lets running jobs checkpoint and stop, and exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, start_http_server

from services.common.artifacts import Artifacts
from services.common.errors import UnderstudyError
from services.common.interceptors import CallInterceptor, service_label
from services.common.metrics import ServiceMetrics
from services.common.settings import ServiceSettings
from services.common.stage import StageRunner
from services.common.store import MeasuredStore
from services.common.telemetry import configure_logging, configure_tracing, flush_tracing, logger
from services.common.tls import server_credentials

_log = logger(__name__)

LIVENESS = "liveness"
"""Name in the health service that is SERVING for as long as the event loop turns, store or no store: an orchestrator
that restarts by it mends a process that hangs, and none that only waits for the store."""

_HEALTH_SECONDS = 2.0
_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 20_000),  # callers resolve the name anew, and find what scaling has changed
    ("grpc.max_connection_age_grace_ms", 86_400_000),  # a training is never cut for its connection's age
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a silent second server
]


@dataclass(frozen=True)
class Service:
    """What a stage service brings.

    name: "pose". grpc_name: "understudy.v1.PoseService". register: adds the servicer to the server. load: brings
    the model into memory, called once in a thread; raises an UnderstudyError that says what is missing.
    """

    name: str
    grpc_name: str
    register: Callable[[grpc.aio.Server], None]
    load: Callable[[], None]
    runner: StageRunner


@dataclass(frozen=True)
class Running:
    """A started server. `port` is the one it listens on; `metrics_port` is -1 when it serves no metrics."""

    server: grpc.aio.Server
    port: int
    metrics_port: int
    health_task: asyncio.Task[None]
    service: Service
    close_metrics: Callable[[], None]
    probes: grpc.aio.Server | None = None

    async def stop(self, grace_seconds: float) -> None:
        """Drains: health first, then jobs, then connections."""
        self.health_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.health_task
        await self.service.runner.drain(grace_seconds)
        await self.server.stop(min(grace_seconds, 2.0))
        if self.probes is not None:
            await self.probes.stop(None)
        self.close_metrics()


def open_runner(settings: ServiceSettings) -> StageRunner:
    """The stage runner of a process, over the store that its settings name."""
    return StageRunner(Artifacts(MeasuredStore(settings.open_store()), settings.cache_dir), settings.slots)


async def start(service: Service, settings: ServiceSettings) -> Running:
    """Starts serving. Raises OSError when the port is taken."""
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    service.runner.observer = metrics.stages
    store = service.runner.artifacts.store
    if isinstance(store, MeasuredStore):
        store.observe = metrics.observe_store
    server = grpc.aio.server(interceptors=[CallInterceptor(metrics)], options=_KEEPALIVE)
    service.register(server)
    metrics.expect(service_label(service.grpc_name), methods_of(service.grpc_name))
    state = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    names = (service.grpc_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    await state.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
    await _set_health(state, service, metrics, serving=False)
    port = add_port(server, f"{settings.listen_host}:{settings.listen_port}", server_credentials(settings))
    await server.start()
    probes = await _serve_probes(settings, state)
    metrics_port, close_metrics = _serve_metrics(settings, registry)
    task = asyncio.create_task(_watch_health(state, service, metrics))
    _log.info("listening", port=port, metrics_port=metrics_port)
    return Running(server, port, metrics_port, task, service, close_metrics, probes)


def run(service: Service, settings: ServiceSettings) -> None:
    """Configures telemetry and serves until SIGTERM, SIGINT or the parent's end. Called by `__main__`."""
    configure_logging(service.name, settings.log_format, settings.log_level)
    configure_tracing(service.name, settings.otlp_endpoint)
    asyncio.run(_serve(service, settings))
    flush_tracing()
    os._exit(0)  # a worker thread inside a model's native code must not hold up the exit


async def _serve(service: Service, settings: ServiceSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    watch_parent(settings.parent_pipe, lambda: loop.call_soon_threadsafe(stop.set), settings.grace_seconds)
    running = await start(service, settings)
    sys.stdout.write(json.dumps({"port": running.port, "metrics_port": running.metrics_port}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    _log.info("draining")
    await running.stop(settings.grace_seconds)


def watch_parent(parent_pipe: int, gone: Callable[[], object], grace_seconds: float) -> None:
    """Calls `gone` when the pipe that the starting process holds is closed, which its death does too, however it
    died; and ends this process by force when it has not ended itself `grace_seconds` later."""
    if parent_pipe < 0:
        return

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(parent_pipe, 1):
                pass
        gone()
        threading.Event().wait(grace_seconds + 5)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


async def _set_health(
    state: health.aio.HealthServicer, service: Service, metrics: ServiceMetrics, *, serving: bool
) -> None:
    kind = health_pb2.HealthCheckResponse
    metrics.ready.set(int(serving))
    for name in ("", service.grpc_name):
        await state.set(name, kind.SERVING if serving else kind.NOT_SERVING)


async def _watch_health(state: health.aio.HealthServicer, service: Service, metrics: ServiceMetrics) -> None:
    """Loads the model, then asks the store every two seconds."""
    loaded = False
    told = ""
    while True:
        serving = False
        try:
            if not loaded:
                await asyncio.to_thread(service.load)
                loaded = True
            await asyncio.to_thread(service.runner.artifacts.store.ping)
            serving = True
            told = ""
        except UnderstudyError as error:
            if error.message != told:
                _log.error("not ready", reason=error.reason, error=error.message)
            told = error.message
        except Exception as error:  # noqa: BLE001 - a model that fails to load must leave word, and is tried again
            if repr(error) != told:
                _log.exception("not ready")
            told = repr(error)
        try:
            await _set_health(state, service, metrics, serving=serving)
            await asyncio.sleep(_HEALTH_SECONDS)
        except asyncio.CancelledError:
            await _set_health(state, service, metrics, serving=False)
            raise


def methods_of(grpc_name: str) -> list[str]:
    """Names of a service's methods, from its proto."""
    return [method.name for method in descriptor_pool.Default().FindServiceByName(grpc_name).methods]


def add_port(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """The port that a server will listen on; without credentials, in the clear. Raises OSError when it is taken."""
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:  # gRPC's word for it
        raise OSError(errno.EADDRINUSE, f"cannot listen on {address}, its port may be taken") from error


async def _serve_probes(settings: ServiceSettings, state: health.aio.HealthServicer) -> grpc.aio.Server | None:
    if settings.probe_port < 0:
        return None
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    server.add_insecure_port(f"{settings.listen_host}:{settings.probe_port}")
    await server.start()
    return server


def _serve_metrics(settings: ServiceSettings, registry: CollectorRegistry) -> tuple[int, Callable[[], None]]:
    if settings.metrics_port < 0:
        return -1, lambda: None
    server, thread = start_http_server(settings.metrics_port, settings.listen_host, registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(2)

    return server.server_port, close
