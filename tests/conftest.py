"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from services.common.artifacts import Artifacts
from services.common.store import FileObjectStore
from tests.support import minio, postgres

# As the renderer does: without it, a client starts with ONNX Runtime that sends usage events.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A loaded machine is slow, not wrong: no example fails for its time. CI draws the same examples every time.
hypothesis.settings.register_profile(
    "understudy",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("understudy")

_REPOSITORY_TESTS = Path(__file__).parent / "repo"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rules of the repository first: they are quick, and nothing else matters while one is broken."""
    items.sort(key=lambda item: _REPOSITORY_TESTS not in item.path.parents)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds MinIO before the first test, so that no test's time limit covers a cold build."""
    wanted = any("minio_server" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly and not minio.reason_missing():
        minio.build()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minio.MinioServer]:
    """A real MinIO, one for the whole run."""
    missing = minio.reason_missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with minio.running(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A real PostgreSQL, one for the whole run."""
    with postgres.required_server() as server:
        yield server


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Artifacts in a store of files, empty."""
    return Artifacts(FileObjectStore(tmp_path / "store"), tmp_path / "cache")
