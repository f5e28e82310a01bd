"""Between gRPC and the rest: errors both ways, references, facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from understudy.v1 import types_pb2

from services.common import errors
from services.common.artifacts import Artifact, ArtifactRef, Facts
from services.common.stage import Progress

M = TypeVar("M", bound=Message)

# A call that fails without our ErrorInfo failed on the way: what the transport says becomes one of ours.
_BY_CODE: dict[grpc.StatusCode, type[errors.UnderstudyError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.ServiceUnavailable,
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ServiceUnavailable,
}


# gRPC refuses trailers over 8 KiB, and writes the message twice, once percent-encoded.
_LONGEST_MESSAGE_BYTES = 1000
_LONGEST_VALUE_BYTES = 200
_MOST_VALUES = 8


def to_status(error: errors.UnderstudyError) -> status_pb2.Status:
    """google.rpc.Status with one ErrorInfo (AIP-193), small enough for gRPC's trailers."""
    metadata = {name: _cut(value, _LONGEST_VALUE_BYTES) for name, value in list(error.metadata.items())[:_MOST_VALUES]}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=errors.DOMAIN, metadata=metadata)
    detail = any_pb2.Any()
    detail.Pack(info)
    code = grpc.StatusCode[error.grpc_code].value[0]
    return status_pb2.Status(code=code, message=_cut(error.message, _LONGEST_MESSAGE_BYTES), details=[detail])


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.UnderstudyError:
    """The error that the other side raised; a failure of the transport becomes ServiceUnavailable and the like."""
    status = _status_of(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == errors.DOMAIN:
            return errors.by_reason(info.reason)(error.details() or info.reason, **dict(info.metadata))
    code = error.code()
    return _BY_CODE.get(code, errors.Internal)(f"{code.name}: {error.details()}")


def _cut(text: str, most_bytes: int) -> str:
    """Text that protobuf accepts, at most so many bytes of UTF-8: lone surrogates (file names) become `?`."""
    data = text.encode("utf-8", "replace")
    return text if data.decode() == text and len(data) <= most_bytes else data[:most_bytes].decode("utf-8", "ignore")


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
    return None


def to_ref(message: types_pb2.ArtifactRef) -> ArtifactRef:
    """Raises InvalidOption when the message does not name an artifact."""
    return ArtifactRef(message.kind, message.key)


def to_refs(messages: Iterable[types_pb2.ArtifactRef]) -> list[ArtifactRef]:
    return [to_ref(message) for message in messages]


def from_ref(ref: ArtifactRef) -> types_pb2.ArtifactRef:
    return types_pb2.ArtifactRef(kind=ref.kind, key=ref.key)


def expect_kind(ref: ArtifactRef, *kinds: str) -> ArtifactRef:
    """The reference itself. Raises InvalidOption when it names another kind of artifact."""
    if ref.kind not in kinds:
        raise errors.InvalidOption(f"need a {' or '.join(kinds)} artifact, got a {ref.kind}", kind=ref.kind)
    return ref


def from_facts(facts: Facts, message_type: type[M], artifact: ArtifactRef | None = None) -> M:
    """A result message from an artifact's facts, which are its JSON; `artifact` fills the field of that name."""
    message = json_format.ParseDict(facts, message_type(), ignore_unknown_fields=True)
    if artifact is not None:
        message.artifact.CopyFrom(from_ref(artifact))  # type: ignore[attr-defined]
    return message


def from_artifact(artifact: Artifact, message_type: type[M]) -> M:
    return from_facts(artifact.facts, message_type, artifact.ref)


def to_facts(message: Message) -> Facts:
    """The JSON of a message: proto field names, defaults included, 64-bit integers as numbers."""
    facts: Facts = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    numbers: Any = _integers(facts, message)
    return dict(numbers)


def _integers(facts: Any, message: Message) -> Any:
    # protobuf's JSON writes 64-bit integers as strings; ours are counts and sizes, far below 2**53
    for field in message.DESCRIPTOR.fields:
        if field.name not in facts:
            continue
        value = facts[field.name]
        if field.cpp_type in {field.CPPTYPE_INT64, field.CPPTYPE_UINT64}:
            facts[field.name] = [int(each) for each in value] if isinstance(value, list) else int(value)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            child = getattr(message, field.name)
            if isinstance(value, list):
                facts[field.name] = [_integers(each, part) for each, part in zip(value, child, strict=True)]
            else:
                facts[field.name] = _integers(value, child)
    return facts


def from_progress(progress: Progress) -> types_pb2.Progress:
    return types_pb2.Progress(done=progress.done, total=progress.total, unit=progress.unit, message=progress.message)
