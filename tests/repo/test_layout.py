"""What is where: the top of the tree, the shape of a service, the size of a file."""

from __future__ import annotations

import ast

import pytest

from tests.repo.tree import ROOT, STAGES, files, parsed, python_files, text

TOP = {
    "proto", "services", "gateway", "deploy", "k8s", "tests", "requirements", "docker-compose.yml", "Makefile",
    "README.md", "pyproject.toml", "LICENSE",
}  # fmt: skip
SERVICE_FILES = ("__main__.py", "config.py", "servicer.py", "worker.py", "README.md")
MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 60  # 40 is the aim
BANNED_NAMES = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py", "stuff.py"}


def test_the_top_level_holds_only_what_belongs_there() -> None:
    top = {path.parts[0] for path in files()}
    assert {name for name in top if not name.startswith(".")} <= TOP
    assert {"proto", "services", "gateway", "tests", "Makefile", "README.md", "pyproject.toml", "LICENSE"} <= top
    assert ".ci" in top


@pytest.mark.parametrize("stage", STAGES)
def test_every_service_has_the_same_files(stage: str) -> None:
    folder = ROOT / "services" / stage
    assert [name for name in SERVICE_FILES if not (folder / name).is_file()] == []
    lines = (folder / "__main__.py").read_text().splitlines()
    assert len(lines) <= 30
    readme = (folder / "README.md").read_text()
    assert f"python -m services.{stage}" in readme or "understudy" in readme


def test_services_are_the_stages_and_what_they_share() -> None:
    found = {path.parts[1] for path in files() if path.parts[0] == "services" and len(path.parts) > 2}
    assert found == {*STAGES, "common"}


def test_every_service_has_its_proto() -> None:
    protos = {path.stem for path in files() if path.suffix == ".proto"}
    assert protos == {*STAGES, "gateway", "types"}


def test_files_are_short() -> None:
    long = {str(path): lines for path in python_files() if (lines := len(text(path).splitlines())) > MOST_LINES}
    assert not long
    assert len(text(ROOT / "Makefile").splitlines()) <= 70


def test_functions_are_short() -> None:
    long = [
        f"{path}:{node.lineno} {node.name} has {length} lines"
        for path in python_files("services", "gateway")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long


def test_names_say_what_a_file_holds() -> None:
    assert not [str(path) for path in python_files() if path.name in BANNED_NAMES]


def test_modules_say_what_they_are() -> None:
    silent = [
        str(path)
        for path in python_files("services", "gateway", "deploy")
        if text(path).strip() and ast.get_docstring(parsed(path)) is None
    ]
    assert not silent


def test_tests_mirror_the_tree() -> None:
    """tests/unit/<part>/ is for services/<part>/; tests/unit/gateway/ for gateway/."""
    parts = {path.parts[2] for path in files() if path.parts[:2] == ("tests", "unit") and len(path.parts) > 3}
    assert parts <= {*STAGES, "common", "gateway", "deploy", "bench"}


def test_generated_code_is_not_committed() -> None:
    assert not [str(path) for path in files() if "_pb2" in path.name or path.parts[:2] == ("proto", "gen")]
