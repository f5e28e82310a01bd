"""A small synthetic pair and running stacks, shared by the bad inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.synthetic import SyntheticPair, write_synthetic_pair
from tests.e2e.running import Up, understudy_up


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return write_synthetic_pair(
        tmp_path_factory.mktemp("dancers"),
        source_frames=48,
        target_frames=64,
        source_size=(240, 320),
        target_size=(320, 320),
    )


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`understudy up` as it comes."""
    with understudy_up(tmp_path_factory.mktemp("up") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`understudy up` that may download from this machine, and has little patience and room for it."""
    with understudy_up(
        tmp_path_factory.mktemp("lenient") / "home",
        downloader_allow_private_addresses=True,
        downloader_sites=False,
        downloader_max_bytes=2 << 20,
        downloader_read_timeout_seconds=2,
        downloader_total_timeout_seconds=4,
    ) as running:
        yield running


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a result would lie, alone in its folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "out.mp4"
