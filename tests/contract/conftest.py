"""What contract tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.store import ObjectStore, open_store
from tests.support.minio import MinioServer


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Each kind of store in turn, empty, opened by its URL."""
    if request.param == "file":
        return open_store((tmp_path / "store").as_uri())
    if request.param == "memory":
        return open_store("memory://")
    server: MinioServer = request.getfixturevalue("minio_server")
    return open_store(server.store_url(server.new_bucket()), server.access_key, server.secret_key)
