"""Two processes that share a batch learn what one process learns from all of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.trainer.distributed import ALONE, World, joined_world
from services.trainer.families import begin_training
from services.trainer.training import Hooks, Losses, train
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import EXACT, FAMILIES, families, load

ITERATIONS = 4
_REPOSITORY = Path(__file__).resolve().parents[3]


def _stopped_at(family: str, world: World) -> int:
    """The iteration that the run ends after, where the process that measures says at 2 that it is good enough."""
    config = FAMILIES[family](ITERATIONS)
    training = begin_training(config, load(make_study(30), config), EXACT, world)
    hooks = Hooks(_nothing, _nothing, _nothing, _nothing, reached=lambda: world.rank == 0, ask_every=2)
    train(training, hooks)
    return training.step


def _nothing(*_: object) -> None:
    pass


def _curve(family: str, world: World) -> list[Losses]:
    config = FAMILIES[family](ITERATIONS)
    training = begin_training(config, load(make_study(30), config), EXACT, world)
    return [training.iterate() for _ in range(ITERATIONS)]


@families
def test_two_gloo_processes_have_the_losses_of_one_with_the_whole_batch(family: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(2):
        environment = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        arguments = [
            sys.executable,
            "-m",
            "tests.unit.trainer.test_distributed",
            family,
            str(tmp_path / f"{rank}.json"),
        ]
        processes.append(subprocess.Popen(arguments, cwd=_REPOSITORY, env={**os.environ, **environment}))
    try:
        assert [process.wait(120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [each["stopped_at"] for each in told] == [2, 2]
    first, second = (each["losses"] for each in told)
    assert first == second  # what is averaged is the same for both
    for shared, alone in zip(first, _curve(family, ALONE), strict=True):
        assert shared == pytest.approx(alone, rel=2e-3, abs=1e-4)


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    config = replace(FAMILIES["composite"](1), batch=3)
    with pytest.raises(ValueError, match="batch of 3"):
        begin_training(config, load(make_study(30), config), EXACT, World(0, 2))


def main(family: str, path: str) -> None:
    """One of the two processes."""
    with joined_world() as world:
        found = {"losses": _curve(family, world), "stopped_at": _stopped_at(family, world)}
        Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
