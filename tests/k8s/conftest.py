"""Overlays, built once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import kustomize
from tests.support.kustomize import Object

OVERLAYS = ("local", "gpu")


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def objects(overlay: str, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Every object of an overlay, as it would be applied."""
    missing = kustomize.reason_missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return kustomize.build(repository, overlay, tmp_path_factory.mktemp(overlay))
