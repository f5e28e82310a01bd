"""kill -9 of a writer at any moment leaves nothing, or the whole artifact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.artifacts import Artifacts, Recipe
from services.common.store import FileObjectStore

OBJECTS, OBJECT_BYTES = 6, 400_000

# Says each step that it has finished, and waits for a line before the next: the test decides how far it comes.
WRITER = f"""
import sys
from pathlib import Path
from services.common.artifacts import Artifacts, Recipe
from services.common.store import FileObjectStore
artifacts = Artifacts(FileObjectStore(Path(sys.argv[1])), Path("nowhere"))
print("ready", flush=True)
while True:
    writer = artifacts.write(Recipe("clip", "test", int(sys.stdin.readline())))
    for number in range({OBJECTS}):
        writer.put_bytes(f"object-{{number}}", bytes([number]) * {OBJECT_BYTES})
        print("stored", flush=True)
    artifacts.commit(writer, {{"objects": {OBJECTS}}})
    print("committed", flush=True)
"""


def start_writer(store: Path, repository: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store)],
        cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip


@pytest.mark.parametrize("lines_before_kill", [1, 2, 3, OBJECTS + 1, OBJECTS + 2])
def test_a_killed_writer_leaves_nothing_or_all(tmp_path: Path, repository: Path, lines_before_kill: int) -> None:
    store = tmp_path / "store"
    recipe = Recipe("clip", "test", 1)
    with start_writer(store, repository) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("1\n")
        process.stdin.flush()
        for _ in range(lines_before_kill):  # then somewhere inside the next step
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    artifacts = Artifacts(FileObjectStore(store), tmp_path / "cache")
    found = artifacts.find(recipe.ref)
    if lines_before_kill == OBJECTS + 2:
        assert found is not None
    for info in artifacts.store.list(""):  # half an object has no name
        if info.key != recipe.ref.manifest_key:
            assert info.size_bytes == OBJECT_BYTES
    if found is None:  # what a restarted writer does
        writer = artifacts.write(recipe)
        for number in range(OBJECTS):
            writer.put_bytes(f"object-{number}", bytes([number]) * OBJECT_BYTES)
        found = artifacts.commit(writer, {"objects": OBJECTS})
    assert found.facts == {"objects": OBJECTS}
    assert found.names() == [f"object-{number}" for number in range(OBJECTS)]
    for number in range(OBJECTS):
        assert found.read_bytes(f"object-{number}") == bytes([number]) * OBJECT_BYTES
    assert len(list(artifacts.store.list(""))) == OBJECTS + 1


def test_many_kills_at_random_moments(tmp_path: Path, repository: Path) -> None:
    store = tmp_path / "store"
    whole = 0
    for attempt in range(12):
        with start_writer(store, repository) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            process.stdin.writelines(f"{version}\n" for version in range(1, 200))
            process.stdin.flush()
            # bytes written so far decide, so that the moment falls anywhere, inside a step too
            for _ in range(1 + 3 * attempt):
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
        artifacts = Artifacts(FileObjectStore(store), tmp_path / "cache")
        for ref in artifacts.refs():
            found = artifacts.open(ref)
            assert found.facts == {"objects": OBJECTS}
            for number in range(OBJECTS):
                assert found.read_bytes(f"object-{number}") == bytes([number]) * OBJECT_BYTES
        whole = len(list(artifacts.refs()))
    assert whole > 0
