"""The gateway's process: database, workflows, gRPC and HTTP on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry
from understudy.v1 import gateway_pb2_grpc

from gateway import workflow
from gateway.auth import Auth, AuthInterceptor
from gateway.backlog import Backlog
from gateway.clients import StageClients
from gateway.conductor import Conductor
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.grpc_api import GatewayServicer
from gateway.housekeeping import Housekeeping, keep_house
from gateway.http_api import create_app
from gateway.metrics import GatewayMetrics
from gateway.service import Queue, Understudy
from gateway.sql import patiently
from gateway.workers import follow_workers
from services.common.artifacts import Artifacts
from services.common.interceptors import CallInterceptor
from services.common.server import add_port, methods_of, watch_parent
from services.common.store import MeasuredStore
from services.common.telemetry import configure_logging, configure_tracing, flush_tracing, logger
from services.common.tls import credentials_of

_log = logger(__name__)
_GRPC_NAME = "understudy.v1.GatewayService"


@dataclass(frozen=True)
class Running:
    """A started gateway and the ports it listens on."""

    understudy: Understudy
    grpc_port: int
    http_port: int


@contextlib.asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[Running]:
    """A gateway on this event loop until the block ends. One a process: DBOS keeps process-wide state."""
    database = await patiently(settings.database_retry_seconds, Database, settings.database_url)
    metrics = GatewayMetrics(CollectorRegistry())
    store = MeasuredStore(settings.open_store())
    store.observe = metrics.observe_store
    artifacts = Artifacts(store, settings.cache_dir)
    clients = StageClients(settings, metrics)
    conductor = Conductor(settings, database, clients, artifacts)
    queue = Queue(workflow.enqueue, workflow.cancel) if settings.run_transfers else None
    understudy = Understudy(settings, database, artifacts, clients, conductor, queue)
    if settings.foreground_request_id:
        understudy.hold_others(settings.foreground_request_id)
    if queue is not None:
        workflow.configure(settings)
        await workflow.launch(settings, conductor)
        await workflow.take_up(database)
    auth = Auth(understudy.keys if settings.asks_for_keys else None, settings.admin_key.get_secret_value())
    server, grpc_port = await _start_grpc(understudy, settings, metrics, auth)
    web, http_port, web_task = await _start_http(understudy, settings, metrics, auth)
    beside = [asyncio.create_task(Backlog(settings, database, metrics, understudy.ready).watch())]
    if not settings.concurrent_shards:
        beside.append(asyncio.create_task(follow_workers(settings, clients.turns)))
    if settings.gc_every_seconds:
        beside.append(asyncio.create_task(keep_house(settings, Housekeeping(settings, database, artifacts))))
    try:
        yield Running(understudy, grpc_port, http_port)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        web.should_exit = True
        await web_task
        await server.stop(1.0)
        if queue is not None:
            await asyncio.to_thread(workflow.shut_down)
        await clients.close()
        database.close()


def run(settings: GatewaySettings) -> None:
    """Configures telemetry and serves. Called by `__main__`."""
    configure_logging("gateway", settings.log_format, settings.log_level)
    configure_tracing("gateway", settings.otlp_endpoint)
    asyncio.run(_serve(settings))
    flush_tracing()
    os._exit(0)  # DBOS and grpc threads that still wait must not hold up the exit


async def _serve(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    watch_parent(settings.parent_pipe, lambda: loop.call_soon_threadsafe(stop.set), settings.grace_seconds)
    async with serving(settings) as running:
        sys.stdout.write(json.dumps({"port": running.grpc_port, "http_port": running.http_port}) + "\n")
        sys.stdout.flush()
        _log.info("listening", port=running.grpc_port, http_port=running.http_port)
        await stop.wait()
        _log.info("draining")
    _log.info("stopped")


async def _start_grpc(
    understudy: Understudy, settings: GatewaySettings, metrics: GatewayMetrics, auth: Auth
) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(
        interceptors=[CallInterceptor(metrics), AuthInterceptor(auth)], options=[("grpc.so_reuseport", 0)]
    )
    metrics.expect("gateway", methods_of(_GRPC_NAME))
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(GatewayServicer(understudy), server)
    state = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    for name in ("", _GRPC_NAME):
        await state.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((_GRPC_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    door = settings.door_certificate_file
    credentials = credentials_of(door, settings.door_key_file) if door else None
    port = add_port(server, f"{settings.listen_host}:{settings.listen_port}", credentials)
    await server.start()
    return server, port


async def _start_http(
    understudy: Understudy, settings: GatewaySettings, metrics: GatewayMetrics, auth: Auth
) -> tuple[uvicorn.Server, int, asyncio.Task[None]]:
    app = create_app(understudy, settings.allowed_hosts, metrics, auth)
    config = uvicorn.Config(
        app,
        host=settings.listen_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        server_header=False,
        ssl_certfile=settings.door_certificate_file,
        ssl_keyfile=settings.door_key_file,
    )
    web = uvicorn.Server(config)
    web.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(web.serve())
    while not web.started:
        if task.done():
            await task
            address = f"{settings.listen_host}:{settings.http_port}"
            raise OSError(errno.EADDRINUSE, f"cannot listen on {address}, its port may be taken")
        await asyncio.sleep(0.02)
    return web, web.servers[0].sockets[0].getsockname()[1], task
