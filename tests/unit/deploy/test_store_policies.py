"""The store's policies against the code: a stage may write every kind of artifact that it makes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from deploy.store_policies import USERS, policy

STAGES = sorted(set(USERS) - {"gateway"})


def kinds_of(folder: Path) -> set[str]:
    """First arguments of every `Recipe(...)`, whatever way they are chosen."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text())
        chosen = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Recipe" and node.args:
                kind = node.args[0]
                found |= strings_of(chosen[kind.id] if isinstance(kind, ast.Name) else kind)
    return found


def strings_of(kind: ast.expr) -> set[str]:
    if isinstance(kind, ast.IfExp):
        return strings_of(kind.body) | strings_of(kind.orelse)
    assert isinstance(kind, ast.Constant), f"cannot tell the kind from {ast.unparse(kind)}"
    return {str(kind.value)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_may_write_what_it_makes_and_nothing_else(stage: str, repository: Path) -> None:
    writes = next(each for each in policy(stage, "b")["Statement"] if "s3:PutObject" in each["Action"])
    allowed = {each.split("/artifacts/")[1].strip("/*") for each in writes["Resource"] if "/artifacts/" in each}
    assert kinds_of(repository / "services" / stage) == allowed
