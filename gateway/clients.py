"""Calling the stage services: references in and out, retries for what passes, an end to what hangs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry import propagate, trace
from prometheus_client import CollectorRegistry
from understudy.v1 import (
    downloader_pb2_grpc,
    normalization_pb2_grpc,
    pose_pb2_grpc,
    renderer_pb2_grpc,
    segmentation_pb2_grpc,
    trainer_pb2_grpc,
)

from gateway.config import STAGE_SERVICES, GatewaySettings
from gateway.messages import refs_in
from gateway.metrics import GatewayMetrics
from gateway.resources import Ref
from gateway.turns import Turns
from gateway.workers import FEWEST_SHARDS
from services.common import rpc
from services.common.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    ServiceUnavailable,
    UnderstudyError,
    WorkerBusy,
)
from services.common.telemetry import MOST_WAITING_HEADER, REQUEST_HEADER, STAGE_HEADER, TRANSFER_HEADER, logger
from services.common.tls import channel_credentials

_log = logger(__name__)
_tracer = trace.get_tracer("understudy")
Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_END_OF_STREAM: Any = vars(grpc.aio)["EOF"]  # the stubs of grpc leave it out
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0
_MOST_INTERNAL = 3
# A worker that is busy refuses at once; the next one is asked soon, and after so many any of them.
_REFUSED_SECONDS, _MOST_REFUSALS = 0.05, 40
_OPTIONS = [
    ("grpc.lb_policy_name", "round_robin"),  # over every address that DNS gives: scaling needs no restart
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
]


class StageClients:
    """Stubs of all six services on one event loop."""

    def __init__(self, settings: GatewaySettings, metrics: GatewayMetrics | None = None) -> None:
        self._settings = settings
        self.metrics = metrics or GatewayMetrics(CollectorRegistry())
        self.turns = Turns(settings.concurrent_shards or FEWEST_SHARDS, self.metrics)
        credentials = channel_credentials(settings)
        self._channels = {service: _channel(settings.address_of(service), credentials) for service in STAGE_SERVICES}
        self.downloader = downloader_pb2_grpc.DownloaderServiceStub(self._channels["downloader"])
        self.pose = pose_pb2_grpc.PoseServiceStub(self._channels["pose"])
        self.segmentation = segmentation_pb2_grpc.SegmentationServiceStub(self._channels["segmentation"])
        self.normalization = normalization_pb2_grpc.NormalizationServiceStub(self._channels["normalization"])
        self.trainer = trainer_pb2_grpc.TrainerServiceStub(self._channels["trainer"])
        self.renderer = renderer_pb2_grpc.RendererServiceStub(self._channels["renderer"])

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)

    async def health(self) -> dict[str, bool]:
        """Whether each service is SERVING."""

        async def ask(service: str) -> bool:
            stub: Any = health_pb2_grpc.HealthStub(self._channels[service])
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        answers = await asyncio.gather(*(ask(service) for service in STAGE_SERVICES))
        return dict(zip(STAGE_SERVICES, answers, strict=True))


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


def _calling(stage: str) -> AbstractContextManager[trace.Span]:
    """The span of one try."""
    return _tracer.start_as_current_span(f"call {stage}", kind=trace.SpanKind.CLIENT)


class StageCaller:
    """Makes one transfer's calls. `method` is a stub's; `stage` and the transfer's id travel as metadata.

    made: every artifact that an answer named, in order. A transfer keeps them while it runs.
    """

    def __init__(self, settings: GatewaySettings, transfer_id: str, metrics: GatewayMetrics) -> None:
        self.made: dict[tuple[str, str], Ref] = {}
        self._settings = settings
        self._transfer_id = transfer_id
        self._metrics = metrics

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Q, R],
        request: Q,
        stage: str,
        *,
        most_waiting: int | None = None,
    ) -> R:
        """The answer. Raises what the service raised, once retrying can no longer help.

        most_waiting: a worker at which more wait refuses, and the next one is asked; None takes any worker.
        """
        patience = _Patience(self._settings.retry_seconds, stage, self._metrics)
        refusals = 0
        while True:
            try:
                with _calling(stage):
                    metadata = self._metadata(stage, most_waiting if refusals < _MOST_REFUSALS else None)
                    answer = await method(request, metadata=metadata, timeout=self._settings.call_timeout_seconds)
            except grpc.aio.AioRpcError as error:
                failure = rpc.from_rpc_error(error)
                if isinstance(failure, WorkerBusy):
                    refusals += 1
                    await asyncio.sleep(min(_REFUSED_SECONDS * refusals, 1.0) * random.uniform(0.5, 1.5))  # noqa: S311
                else:
                    await patience.wait(failure)
            else:
                self._remember(answer)
                return answer

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Q, R],
        request: Q,
        stage: str,
        on_update: Callable[[R], None],
    ) -> None:
        """Sees every update through `on_update`; updates before a retry may come again. Ends with the call."""
        patience = _Patience(self._settings.retry_seconds, stage, self._metrics)
        while True:
            try:
                with _calling(stage):
                    async for update in self._updates(method(request, metadata=self._metadata(stage))):
                        patience.reset()
                        self._remember(update)
                        on_update(update)
            except grpc.aio.AioRpcError as error:
                await patience.wait(rpc.from_rpc_error(error))
            except TimeoutError:
                silent = self._settings.silence_timeout_seconds
                await patience.wait(DeadlineExceeded(f"{stage} said nothing for {silent:.0f} s"))
            else:
                return

    async def _updates(self, call: Any) -> AsyncIterator[Any]:
        try:
            while True:
                async with asyncio.timeout(self._settings.silence_timeout_seconds):
                    update = await call.read()
                if update is _END_OF_STREAM:
                    return
                yield update
        finally:
            call.cancel()

    def _remember(self, answer: Message) -> None:
        self.made.update(((ref.kind, ref.key), ref) for ref in refs_in(answer))

    def _metadata(self, stage: str, most_waiting: int | None = None) -> tuple[tuple[str, str], ...]:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        request_id = f"{self._transfer_id}-{random.getrandbits(32):08x}"
        own = {TRANSFER_HEADER: self._transfer_id, STAGE_HEADER: stage, REQUEST_HEADER: request_id}
        if most_waiting is not None:
            own[MOST_WAITING_HEADER] = str(most_waiting)
        return tuple((own | carrier).items())


class _Patience:
    """Decides whether a failed call is made again, and waits before it is."""

    def __init__(self, retry_seconds: float, stage: str, metrics: GatewayMetrics) -> None:
        self._retry_seconds = retry_seconds
        self._stage = stage
        self._metrics = metrics
        self._waited = 0.0
        self._next = _FIRST_WAIT_SECONDS
        self._internal = 0

    def reset(self) -> None:
        self._waited, self._next = 0.0, _FIRST_WAIT_SECONDS

    async def wait(self, error: UnderstudyError) -> None:
        """Raises the error when waiting cannot help or has not helped for long enough."""
        if isinstance(error, Cancelled):  # not by us, who would see asyncio's: a server that stops cuts off late calls
            error = ServiceUnavailable("the worker went away during the call")
        self._internal += isinstance(error, Internal)
        if not error.retryable or self._waited >= self._retry_seconds or self._internal >= _MOST_INTERNAL:
            raise error
        self._metrics.retries.labels(self._stage, error.grpc_code).inc()
        _log.info("trying again", stage=self._stage, reason=error.reason, error=error.message, wait_seconds=self._next)
        await asyncio.sleep(self._next * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries
        self._waited += self._next
        self._next = min(self._next * 2, _LONGEST_WAIT_SECONDS)
