"""Copies a store: `python -m services.common.store.mirror FROM TO`, for backup and restore.

FROM and TO are file:///folder or s3://host:port/bucket; credentials of S3 stores are UNDERSTUDY_STORE_ACCESS_KEY and
UNDERSTUDY_STORE_SECRET_KEY. What the copy has in the same size is not copied again. Manifests go last, so that a copy
that is cut off, or made while work goes on, holds whole artifacts or none.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.errors import ObjectNotFound, UnderstudyError
from services.common.store.base import ObjectInfo, ObjectStore
from services.common.store.open import open_store

MANIFEST = "/manifest.json"


class MirrorSettings(BaseSettings):
    """Credentials of both stores."""

    model_config = SettingsConfigDict(env_prefix="UNDERSTUDY_", frozen=True, extra="ignore")

    store_access_key: SecretStr = SecretStr("")
    store_secret_key: SecretStr = SecretStr("")


def mirror(source: ObjectStore, destination: ObjectStore) -> tuple[int, int]:
    """Copies what is missing. Returns the objects copied and those that were there."""
    copied = there = 0
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "object"
        for info in _ordered(source):
            known = destination.stat(info.key)
            if known is not None and known.size_bytes == info.size_bytes:
                there += 1
                continue
            try:
                source.get_file(info.key, part)
            except ObjectNotFound:  # deleted since it was listed
                continue
            destination.put_file(info.key, part)
            copied += 1
    return copied, there


def _ordered(store: ObjectStore) -> Iterator[ObjectInfo]:
    manifests = [info for info in store.list("artifacts/") if info.key.endswith(MANIFEST)]
    # listed after the manifests: what they name is there by now
    yield from (info for info in store.list("") if not info.key.endswith(MANIFEST))
    yield from manifests


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    settings = MirrorSettings()
    keys = settings.store_access_key.get_secret_value(), settings.store_secret_key.get_secret_value()
    try:
        copied, there = mirror(*(open_store(url, *keys) for url in sys.argv[1:]))
    except UnderstudyError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    sys.stdout.write(f"{copied} objects copied, {there} were there\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
