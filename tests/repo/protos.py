"""Everything that a proto file names, with its comment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf import descriptor_pb2

Proto = (
    descriptor_pb2.DescriptorProto
    | descriptor_pb2.FieldDescriptorProto
    | descriptor_pb2.OneofDescriptorProto
    | descriptor_pb2.EnumDescriptorProto
    | descriptor_pb2.EnumValueDescriptorProto
    | descriptor_pb2.ServiceDescriptorProto
    | descriptor_pb2.MethodDescriptorProto
)
Place = tuple[int, ...]  # numbers of fields and indices in descriptor.proto, as SourceCodeInfo has them


@dataclass(frozen=True)
class Element:
    """what: "message", "field", "oneof", "enum", "value", "service" or "rpc". name: with what it is inside of."""

    what: str
    file: str
    name: str
    comment: str
    proto: Proto

    def __str__(self) -> str:
        return f"{self.file} {self.what} {self.name}"


def elements_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Element]:
    """Messages, fields, oneofs, enums, values, services and calls of one file."""
    comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
    for what, place, name, proto in _of_file(file):
        yield Element(what, file.name, name, comments.get(place, ""), proto)


def _of_file(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, Place, str, Proto]]:
    for index, message in enumerate(file.message_type):
        yield from _of_message(message, (4, index), message.name)
    for index, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, (5, index), enum.name)
    for index, service in enumerate(file.service):
        yield "service", (6, index), service.name, service
        for position, rpc in enumerate(service.method):
            yield "rpc", (6, index, 2, position), f"{service.name}.{rpc.name}", rpc


def _of_message(
    message: descriptor_pb2.DescriptorProto, place: Place, name: str
) -> Iterator[tuple[str, Place, str, Proto]]:
    if message.options.map_entry:
        return
    yield "message", place, name, message
    for index, field in enumerate(message.field):
        yield "field", (*place, 2, index), f"{name}.{field.name}", field
    for index, oneof in enumerate(message.oneof_decl):
        if not oneof.name.startswith("_"):  # what `optional` makes
            yield "oneof", (*place, 8, index), f"{name}.{oneof.name}", oneof
    for index, nested in enumerate(message.nested_type):
        yield from _of_message(nested, (*place, 3, index), f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, (*place, 4, index), f"{name}.{enum.name}")


def _of_enum(
    enum: descriptor_pb2.EnumDescriptorProto, place: Place, name: str
) -> Iterator[tuple[str, Place, str, Proto]]:
    yield "enum", place, name, enum
    for index, value in enumerate(enum.value):
        yield "value", (*place, 2, index), f"{name}.{value.name}", value
