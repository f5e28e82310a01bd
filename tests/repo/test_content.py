"""What no file may hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.repo.tree import files, imports, parsed, python_files, text

SELF = Path("tests/repo/test_content.py")
TEXTS = {path: text(path) for path in files() if path != SELF}
CODE = ("services", "gateway", "deploy")

# Locks are checked for addresses too, but their hashes look like keys.
FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.])/(?:home|Users)/\w+|(?<![\w./])/root/|(?<![\w./])/work(?:space)?/",
    "the address of a package index": r"--(?:extra-)?index-url|--find-links|--trusted-host|/simple/?(?=[\"'\s]|$)",
    "a registry or proxy of one network": r"https?://[\w.-]*(?:artifactory|nexus|pypi|proxy|registry)[\w.-]*[:/]",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a cloud access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of a service": r"\b(?:ghp|gho|ghs|github_pat|glpat|xox[bpas]|hf)_\w{20,}",
    "well-known credentials": r"(?<!minio\.)minioadmin|postgres:postgres|admin:admin",
    "an address with a password in it": r"\w+://[^\s/:@\"'{}$<>]+:(?!secret@)[^\s/@\"'{}$<>]+@",
    "a note of work left": r"\b(?:TODO|FIXME|XXX|HACK)\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = [
        f"{path}:{content.count(chr(10), 0, match.start()) + 1} {match[0]!r}"
        for path, content in TEXTS.items()
        for match in pattern.finditer(content)
    ]
    assert not found


def calls(path: Path) -> list[tuple[int, str]]:
    return [(node.lineno, ast.unparse(node.func)) for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]


BANNED_CALLS = re.compile(r"print|input|eval|exec|breakpoint|(torch|np|numpy)\.load|pickle\..*|os\.system|os\.popen")
BANNED_MODULES = ("pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "unittest.mock", "mock", "imp")


def test_code_calls_nothing_dangerous_or_chatty() -> None:
    wrong = [
        f"{path}:{line} calls {name}"
        for path in python_files(*CODE, "tests")
        for line, name in calls(path)
        if BANNED_CALLS.fullmatch(name) and not (name == "print" and path.parts[:2] == ("tests", "bench"))
    ]
    assert not wrong


def test_the_tree_of_errors_is_in_one_place() -> None:
    """An error that another module makes of one of the tree keeps its parent's meaning."""
    wrong = [
        f"{path}:{node.lineno} {target.id}"
        for path in python_files(*CODE)
        if path != Path("services/common/errors.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in {"reason", "grpc_code", "http_status"}
        if isinstance(node.value, ast.Constant)
    ]
    assert not wrong


def test_nothing_is_pickled_or_mocked() -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in python_files()
        for line, name in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in BANNED_MODULES)
    ]
    assert not wrong


def test_modules_do_nothing_when_they_are_imported() -> None:
    """No call for its effect at the top level, apart from `main()` under `__name__`."""
    wrong = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path in python_files(*CODE)
        for node in parsed(path).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if not ast.unparse(node.value.func).endswith(".add_typer")  # declares a command, as its decorators do
    ]
    assert not wrong


def test_the_environment_is_read_by_settings_alone() -> None:
    """Apart from what a process hands on to the processes that it starts, and what the system itself defines."""
    pattern = re.compile(r"os\.(?:environ\[|environ\.get|getenv)\(?\s*[\"']UNDERSTUDY_")
    assert not [str(path) for path in python_files(*CODE) if pattern.search(TEXTS[path])]


@pytest.mark.parametrize("lock", [path for path in files() if path.match("requirements/*.txt")], ids=str)
def test_locks_pin_every_package_by_hash(lock: Path) -> None:
    if lock.name.startswith("overrides"):
        return  # what the resolver must leave out
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", TEXTS[lock]).strip())
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.+!-]+( |$|\n)", entry), entry[:200]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:200]


# What takes a GPU to run, and is not in dev.txt: it lies file for file where onnxruntime does, and needs a library of
# CUDA's that torch does not.
GPU_ALONE = {"onnxruntime-gpu", "nvidia-curand"}


def test_every_requirement_is_locked() -> None:
    """In its own lock, and at the same version in dev.txt: what is tested is what the images hold."""
    for asking in (path for path in files() if path.match("requirements/*.in")):
        names = re.findall(r"(?m)^([A-Za-z0-9._]+[A-Za-z0-9._-]*)", TEXTS[asking])
        lock = _pins(Path("requirements", "dev.txt" if asking.stem == "runtime" else f"{asking.stem}.txt"))
        assert not {name.lower() for name in names} - {pin.partition("==")[0] for pin in lock}, asking
        other = lock - _pins(Path("requirements", "dev.txt"))
        assert {pin.partition("==")[0] for pin in other} <= GPU_ALONE, asking


def _pins(lock: Path) -> set[str]:
    """ "name==version" of every package in a lock."""
    return {
        f"{name.lower()}=={version}"
        for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[.*\])?==([\w.+!-]+)", TEXTS[lock])
    }
