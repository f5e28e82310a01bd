"""The checkout as the rules of the repository see it."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("downloader", "pose", "segmentation", "normalization", "trainer", "renderer")


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed; relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()))


def python_files(*folders: str) -> list[Path]:
    """Python files under these folders, or everywhere."""
    return [path for path in files() if path.suffix == ".py" and (not folders or path.parts[0] in folders)]


def text(path: Path) -> str:
    """Its text; empty when it is a binary file."""
    data = (ROOT / path).read_bytes()
    return "" if b"\0" in data[:8000] else data.decode("utf-8")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


def module_of(path: Path) -> str:
    parts = list(path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of every import in the file, inside functions too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_of(path).split(".")
                keep = len(package) - node.level + (path.name == "__init__.py")
                base = ".".join([*package[:keep], *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{name.name}") for name in node.names)
