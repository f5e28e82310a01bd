"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from services.common.errors import InvalidOption
from services.common.store.base import ObjectStore
from services.common.store.files import FileObjectStore
from services.common.store.memory import MemoryObjectStore


def open_store(url: str, access_key: str = "", secret_key: str = "") -> ObjectStore:
    """The store at `url`.

    `file:///folder`; `s3://host:port/bucket/prefix?secure=false&region=us-east-1` (MinIO and anything that speaks
    S3); `memory://` for tests in one process. Raises InvalidOption for anything else.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path:
        return FileObjectStore(Path(unquote(parts.path)))
    if parts.scheme == "memory":
        return MemoryObjectStore()
    if parts.scheme == "s3" and parts.netloc and parts.path.strip("/"):
        return _open_s3(parts.netloc, parts.path, parse_qs(parts.query), access_key, secret_key)
    raise InvalidOption(
        f"not a store: {url!r}; give file:///folder or s3://host:port/bucket (UNDERSTUDY_STORE_URL)", url=url
    )


def _open_s3(host: str, path: str, query: dict[str, list[str]], access_key: str, secret_key: str) -> ObjectStore:
    from minio import Minio  # only clusters need the client: keep it out of the embedded processes' memory

    from services.common.store.s3 import S3ObjectStore, http_pool

    bucket, _, prefix = path.strip("/").partition("/")
    secure = query.get("secure", ["true"])[0] != "false"
    region = query.get("region", ["us-east-1"])[0]
    pool = http_pool()
    client = Minio(
        host,
        access_key=access_key or None,
        secret_key=secret_key or None,
        secure=secure,
        region=region,
        http_client=pool,
    )
    return S3ObjectStore(client, bucket, prefix, pool)
