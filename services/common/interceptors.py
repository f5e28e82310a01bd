"""What surrounds every gRPC call: context, logs, metrics, traces, and the one translation of errors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status
from opentelemetry import propagate, trace

from services.common import errors, rpc
from services.common.metrics import CallMetrics
from services.common.stage import most_waiting
from services.common.telemetry import CONTEXT_HEADERS, MOST_WAITING_HEADER, logger

_log = logger(__name__)
_tracer = trace.get_tracer("understudy")

Handler = Any  # grpc.RpcMethodHandler; its four behaviours are typed as Any by grpc itself
Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps calls that answer once and calls that stream, in one way.

    Errors of our tree become google.rpc.Status with ErrorInfo; anything else is INTERNAL, logged whole and told
    to the caller without its text, which may hold what is not theirs to see.
    """

    def __init__(self, metrics: CallMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/understudy."):
            return handler
        headers = {key: str(value) for key, value in handler_call_details.invocation_metadata or ()}
        name = method.removeprefix("/understudy.v1.")
        if handler.response_streaming:
            behaviour = self._wrap_stream(name, headers, handler.unary_stream or handler.stream_stream)
        else:
            behaviour = self._wrap_single(name, headers, handler.unary_unary or handler.stream_unary)
        return _rebuilt(handler, behaviour)

    def _wrap_single(self, name: str, headers: dict[str, str], inner: Any) -> Any:
        async def behaviour(request: Any, context: Context) -> Any:
            async with self._around(name, headers, context):
                return await inner(request, context)

        return behaviour

    def _wrap_stream(self, name: str, headers: dict[str, str], inner: Any) -> Any:
        # Writes instead of yielding: a cancelled call then ends here and now, in its own task, not when the
        # generators that gRPC left behind are collected.
        async def behaviour(request: Any, context: Context) -> None:
            async with self._around(name, headers, context), aclosing(inner(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

        return behaviour

    @asynccontextmanager
    async def _around(self, path: str, headers: dict[str, str], context: Context) -> AsyncIterator[None]:
        grpc_service, _, name = path.partition("/")
        labels = (service_label(grpc_service), name)
        structlog.contextvars.bind_contextvars(
            method=name, **{field: headers[key] for key, field in CONTEXT_HEADERS.items() if key in headers}
        )
        if (most := headers.get(MOST_WAITING_HEADER, "")).isdecimal():
            most_waiting.set(int(most))
        started = time.monotonic()
        code = grpc.StatusCode.OK.name
        self._metrics.calls_running.labels(*labels).inc()
        try:
            with _tracer.start_as_current_span(name, context=propagate.extract(headers), kind=trace.SpanKind.SERVER):
                yield
        except errors.UnderstudyError as error:
            code = error.grpc_code
            _log.info("call ended with an error", reason=error.reason, error=error.message)
            await context.abort_with_status(rpc_status.to_status(rpc.to_status(error)))
        except grpc.aio.AbortError:
            code = grpc.StatusCode.UNKNOWN.name
            raise
        except Exception:  # noqa: BLE001 - the caller must get an answer and the log the whole story; raised again by abort
            code = grpc.StatusCode.INTERNAL.name
            _log.exception("call failed")
            hidden = errors.Internal(f"{name} failed inside the service; its log has the details")
            await context.abort_with_status(rpc_status.to_status(rpc.to_status(hidden)))
        except BaseException:  # the caller went away
            code = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            self._metrics.calls_running.labels(*labels).dec()
            self._metrics.calls.labels(*labels, code).inc()
            self._metrics.call_seconds.labels(*labels).observe(time.monotonic() - started)
            _log.debug("call ended", code=code, seconds=round(time.monotonic() - started, 3))


def service_label(grpc_name: str) -> str:
    """A service as metrics call it: "pose" for "understudy.v1.PoseService"."""
    return grpc_name.rpartition(".")[2].removesuffix("Service").lower()


def _rebuilt(handler: Handler, behaviour: Any) -> Handler:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[(handler.request_streaming, handler.response_streaming)]
    return make(
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
