"""The protos keep buf's STANDARD and COMMENTS rules.

Read from protoc's own descriptors. One rule differs from buf's: enums are nested in the message that they belong to,
which is prefix enough, so their values have none; the value 0 still ends in _UNSPECIFIED.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from tests.repo.protos import Element, elements_of
from tests.repo.tree import ROOT

LOWER_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
UPPER_SNAKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
UNITS = re.compile(r"_(seconds|px|bytes|db|degrees|fps)$")


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorSet:
    output = tmp_path_factory.mktemp("proto") / "set.bin"
    sources = sorted(path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto").rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto", "--include_source_info",
               f"--descriptor_set_out={output}", *sources]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, timeout=55)
    return descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())


@pytest.fixture(scope="module")
def elements(descriptors: descriptor_pb2.FileDescriptorSet) -> list[Element]:
    return [element for file in descriptors.file for element in elements_of(file)]


def _broken(elements: list[Element], what: str, form: re.Pattern[str]) -> list[str]:
    return [str(one) for one in elements if one.what == what and not form.fullmatch(one.name.rpartition(".")[2])]


def test_the_package_is_the_folder_and_the_version(descriptors: descriptor_pb2.FileDescriptorSet) -> None:
    assert descriptors.file
    for file in descriptors.file:
        assert file.syntax == "proto3"
        assert Path(file.name).parent.as_posix().replace("/", ".") == file.package
        assert re.fullmatch(r"understudy(\.\w+)*\.v\d+((alpha|beta)\d+)?", file.package)
        assert LOWER_SNAKE.fullmatch(Path(file.name).stem)
        assert not file.public_dependency
        assert not file.weak_dependency


def test_every_import_is_used(descriptors: descriptor_pb2.FileDescriptorSet) -> None:
    for file in descriptors.file:
        text = str(file)
        for imported in (each for each in descriptors.file if each.name in file.dependency):
            names = [*(one.name for one in imported.message_type), *(one.name for one in imported.enum_type)]
            assert any(f".{imported.package}.{name}" in text for name in names), f"{file.name}: {imported.name}"


def test_everything_is_commented(elements: list[Element]) -> None:
    assert [str(one) for one in elements if not re.search(r"\w", one.comment)] == []
    assert {one.what for one in elements} >= {"message", "field", "enum", "value", "service", "rpc", "oneof"}


def test_files_say_what_they_are() -> None:
    for path in (ROOT / "proto").rglob("*.proto"):
        if "gen" not in path.parts:
            assert path.read_text().startswith("// "), path


def test_names_have_the_form_of_their_kind(elements: list[Element]) -> None:
    broken = [
        *_broken(elements, "message", PASCAL), *_broken(elements, "enum", PASCAL), *_broken(elements, "rpc", PASCAL),
        *_broken(elements, "field", LOWER_SNAKE), *_broken(elements, "oneof", LOWER_SNAKE),
        *_broken(elements, "value", UPPER_SNAKE),
        *_broken(elements, "service", re.compile(r"[A-Z][A-Za-z0-9]*Service")),
    ]  # fmt: skip
    assert broken == []


def test_the_first_value_of_an_enum_is_unspecified(elements: list[Element]) -> None:
    for one in elements:
        if isinstance(one.proto, descriptor_pb2.EnumDescriptorProto):
            assert one.proto.value[0].number == 0, one
            assert one.proto.value[0].name.endswith("_UNSPECIFIED"), one
            assert not one.proto.options.allow_alias, one
            assert "." in one.name, f"{one} is not nested, so its values need its name as prefix"


def test_every_rpc_has_its_own_request_and_response(elements: list[Element]) -> None:
    used: list[str] = []
    for one in elements:
        if isinstance(one.proto, descriptor_pb2.MethodDescriptorProto):
            types = [name.rpartition(".")[2] for name in (one.proto.input_type, one.proto.output_type)]
            assert types == [f"{one.proto.name}Request", f"{one.proto.name}Response"], one
            used += types
    assert len(set(used)) == len(used)


def test_names_with_a_unit_are_numbers(elements: list[Element]) -> None:
    wrong = [
        str(one)
        for one in elements
        if isinstance(one.proto, descriptor_pb2.FieldDescriptorProto)
        and UNITS.search(one.proto.name)
        and one.proto.type in {one.proto.TYPE_STRING, one.proto.TYPE_BOOL, one.proto.TYPE_MESSAGE}
    ]
    assert wrong == []


def test_numbers_of_fields_are_kept_small_and_whole(elements: list[Element]) -> None:
    for one in elements:
        if isinstance(one.proto, descriptor_pb2.DescriptorProto):
            numbers = [field.number for field in one.proto.field]
            gone = {number for span in one.proto.reserved_range for number in range(span.start, span.end)}
            assert sorted([*numbers, *gone]) == list(range(1, len(numbers) + len(gone) + 1)), one
