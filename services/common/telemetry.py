"""Logs as JSON lines on stderr, and traces when a collector is configured."""

from __future__ import annotations

import contextvars
import hashlib
import logging
import sys
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.context import Context

_FLUSH_MILLISECONDS: Final = 3000
_trace_id: contextvars.ContextVar[int] = contextvars.ContextVar("understudy_trace_id", default=0)

TRANSFER_HEADER = "x-transfer-id"
STAGE_HEADER = "x-stage"
SHARD_HEADER = "x-shard"
REQUEST_HEADER = "x-request-id"
MOST_WAITING_HEADER = "x-most-waiting"
"""gRPC metadata key: a worker refuses the call (WORKER_BUSY) when more computations than this wait there already."""
CONTEXT_HEADERS = {
    TRANSFER_HEADER: "transfer_id",
    STAGE_HEADER: "stage",
    SHARD_HEADER: "shard",
    REQUEST_HEADER: "request_id",
}
"""gRPC metadata keys that become fields of every log line of a call."""


def configure_logging(service: str, log_format: str, log_level: str) -> None:
    """Sends structlog's and the standard library's records to stderr, one line each."""

    def add_service(_logger: object, _name: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
        record.setdefault("service", service)  # not a context variable: threads of libraries begin without ours
        return record

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_service,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(log_level.upper())
    logging.getLogger("httpx").setLevel("WARNING")


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry the fields of the call that runs."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def _add_trace(_logger: object, _name: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The trace that a line belongs to, where there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record["trace_id"], record["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return record


def configure_tracing(service: str, otlp_endpoint: str) -> None:
    """Sends spans to the collector; without one, spans cost next to nothing and go nowhere."""
    if not otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _trace_id.get() or super().generate_trace_id()

    resource = Resource.create({"service.name": f"understudy-{service}"})
    provider = TracerProvider(resource=resource, id_generator=Ids())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
    trace.set_tracer_provider(provider)


def flush_tracing() -> None:
    """Sends what was not sent yet; called before the process ends."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush(_FLUSH_MILLISECONDS)


def transfer_span(transfer_id: str) -> trace.Span:
    """The span that a transfer's others hang from; its trace has the transfer's id, which is 32 hexadecimal digits, so
    that a gateway that takes a transfer up again goes on in the same trace. End it when the transfer ends."""
    known = len(transfer_id) == 32 and set(transfer_id) <= set("0123456789abcdef")
    token = _trace_id.set(int(transfer_id if known else hashlib.sha256(transfer_id.encode()).hexdigest()[:32], 16))
    try:
        return trace.get_tracer("understudy").start_span("transfer", context=Context())
    finally:
        _trace_id.reset(token)
