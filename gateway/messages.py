"""Between the pipeline's JSON and the services' messages, and one error out of many."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from google.protobuf.message import Message
from understudy.v1 import renderer_pb2, types_pb2

from gateway.resources import MEDIA_TYPES, Output, Rate, Ref
from services.common.errors import Internal, UnderstudyError


@contextlib.asynccontextmanager
async def one_error() -> AsyncIterator[None]:
    """Of a group of failures, raises the one that the user can do most about."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = [error for error in _leaves(group) if isinstance(error, UnderstudyError)]
        if known:
            raise min(known, key=lambda error: error.http_status) from group
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def to_output(name: str, video: renderer_pb2.Video) -> Output:
    if not video.HasField("artifact"):
        raise Internal("the renderer ended without a video")
    return Output(
        name=name,
        artifact=to_resource(video.artifact),
        object_name=video.object_name,
        width=video.width,
        height=video.height,
        frame_count=video.frame_count,
        frame_rate=Rate(numerator=video.frame_rate.numerator, denominator=video.frame_rate.denominator),
        has_audio=video.has_audio,
        size_bytes=video.size_bytes,
        media_type=MEDIA_TYPES[name],
    )


def to_resource(message: types_pb2.ArtifactRef) -> Ref:
    return Ref(kind=message.kind, key=message.key)


def to_message(ref: Ref) -> types_pb2.ArtifactRef:
    return types_pb2.ArtifactRef(kind=ref.kind, key=ref.key)


def refs_in(message: Message) -> Iterator[Ref]:
    """Every artifact that a message names, at any depth."""
    if isinstance(message, types_pb2.ArtifactRef):
        if message.key:
            yield to_resource(message)
        return
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if isinstance(value, Sequence) else (value,):
            yield from refs_in(each)


def to_messages(refs: Sequence[Ref]) -> list[types_pb2.ArtifactRef]:
    return [to_message(ref) for ref in refs]
