"""A small synthetic pair, and one undisturbed transfer of it that other runs are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.synthetic import SyntheticPair, write_synthetic_pair
from tests.support.program import Run, artifacts

SOURCE_FRAMES, TARGET_FRAMES = 70, 80  # two shards each
OPTIONS = ("--preset", "preview", "--iterations", 24)


@dataclass(frozen=True)
class Finished:
    """A transfer that ended well. made: what it left in its home, to which other tests may have added since."""

    home: Path
    output: Path
    run: Run
    made: dict[str, dict[str, str]]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return write_synthetic_pair(
        tmp_path_factory.mktemp("dancers"),
        source_frames=SOURCE_FRAMES,
        target_frames=TARGET_FRAMES,
        source_size=(240, 320),
        target_size=(320, 320),
    )


@pytest.fixture(scope="session")
def undisturbed(pair: SyntheticPair, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("undisturbed")
    output = folder / "out.mp4"
    run = Run(pair.source, pair.target, "-o", output, *OPTIONS, "--home", folder / "home")
    assert run.wait() == 0, (run.events[-3:], run.stderr)
    return Finished(folder / "home", output, run, artifacts(folder / "home"))
