"""Objects in a bucket of MinIO or anything else that speaks S3, by the `minio` client."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from services.common.errors import Forbidden, Internal, ObjectNotFound, StorageFull, StoreUnavailable
from services.common.store.base import ObjectInfo, checked_key, checked_prefix
from services.common.store.disk import disk_errors

_MISSING = {"NoSuchKey", "NoSuchObject"}
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_FULL = {"XMinioStorageFull", "QuotaExceeded", "EntityTooLarge", "XMinioAdminBucketQuotaExceeded"}
# What MinIO says, now and then, of a write that it has no room for. Asked again it says so, or takes it.
_CONFUSED = {"NoSuchUpload", "IncompleteBody"}
_MOST_WRITES = 4
_PRECONDITION_FAILED = 412
_CONFLICT = 409
_MOST_CONFLICTS = 8


def http_pool() -> urllib3.PoolManager:
    """Connections that give up in seconds, not in the client's five minutes, when the store does not answer."""
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5, read=60),
        maxsize=16,
        retries=urllib3.Retry(3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
    )


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in _MISSING:
            raise ObjectNotFound(f"no object {key!r} in the store", key=key) from error
        if error.code in _REFUSED:
            raise Forbidden(
                f"the object store refused {key!r}: {error.code}; check its credentials", key=key
            ) from error
        if error.code in _FULL:
            raise _full(key) from error
        raise StoreUnavailable(f"the object store failed on {key!r}: {error.code}", key=key) from error
    except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError) as error:
        raise StoreUnavailable(f"the object store does not answer: {error}", key=key) from error


def _write(key: str, attempt: Callable[[], object]) -> None:
    """Makes `attempt`, again where the server's answer was a confused one."""
    for number in range(1, _MOST_WRITES + 1):
        with _translated(key):
            try:
                attempt()
            except S3Error as error:
                if error.code not in _CONFUSED or number == _MOST_WRITES:
                    raise
            else:
                return


class S3ObjectStore:
    """An `ObjectStore` in one bucket, under `prefix`."""

    def __init__(self, client: Minio, bucket: str, prefix: str = "", http: urllib3.PoolManager | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._http = http or http_pool()

    def put(self, key: str, data: bytes) -> None:
        name = self._name(key)
        _write(key, lambda: self._client.put_object(self._bucket, name, io.BytesIO(data), len(data)))

    def put_file(self, key: str, path: Path) -> None:
        name = self._name(key)
        _write(key, lambda: self._client.fput_object(self._bucket, name, str(path)))

    def put_new(self, key: str, data: bytes) -> bool:
        """Create-only by `If-None-Match: *` on a presigned PUT: `Minio.put_object` would turn the header into
        user metadata. A PUT is not repeated blindly: a lost answer may mean that it was ours that won. 409 says that
        nothing is decided yet (another write of the key is under way), a confused answer that nothing was written; so
        ask again."""
        headers = {"If-None-Match": "*"}
        for _ in range(_MOST_CONFLICTS):
            with _translated(key):
                url = self._client.get_presigned_url("PUT", self._bucket, self._name(key), timedelta(minutes=5))
                answer = self._http.request("PUT", url, body=data, headers=headers, retries=urllib3.Retry(0))
            if answer.status == _PRECONDITION_FAILED:
                return False
            if answer.status == 200:
                return True
            if answer.status != _CONFLICT and not any(code.encode() in answer.data for code in _CONFUSED):
                break
        raise _refused_put(key, answer.status, answer.data)

    def get(self, key: str) -> bytes:
        return self._read(key, 0, 0)

    def get_range(self, key: str, first_byte: int, byte_count: int) -> bytes:
        return self._read(key, first_byte, byte_count) if byte_count > 0 else b""

    def get_file(self, key: str, path: Path) -> None:
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with _translated(key), disk_errors(path.parent):
                answer = self._client.get_object(self._bucket, self._name(key))
                try:
                    with part.open("wb") as file:
                        shutil.copyfileobj(answer, file, 1 << 20)
                finally:
                    answer.close()
                    answer.release_conn()
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            with _translated(key):
                found = self._client.stat_object(self._bucket, self._name(key))
        except ObjectNotFound:
            return None
        return ObjectInfo(key, found.size or 0, found.last_modified.timestamp() if found.last_modified else 0.0)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with _translated(prefix):
            start = self._prefix + checked_prefix(prefix)
            for found in self._client.list_objects(self._bucket, start, recursive=True):
                name = (found.object_name or "").removeprefix(self._prefix)
                when = found.last_modified.timestamp() if found.last_modified else 0.0
                yield ObjectInfo(name, found.size or 0, when)

    def delete(self, key: str) -> None:
        with _translated(key):
            self._client.remove_object(self._bucket, self._name(key))

    def presigned_url(self, key: str, expires_seconds: int) -> str:
        with _translated(key):
            return self._client.presigned_get_object(self._bucket, self._name(key), timedelta(seconds=expires_seconds))

    def ping(self) -> None:
        with _translated(""):
            if not self._client.bucket_exists(self._bucket):
                raise StoreUnavailable(f"the bucket {self._bucket!r} does not exist: create it", bucket=self._bucket)

    def _name(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _read(self, key: str, first_byte: int, byte_count: int) -> bytes:
        with _translated(key):
            try:
                answer = self._client.get_object(self._bucket, self._name(key), offset=first_byte, length=byte_count)
            except S3Error as error:
                if error.code == "InvalidRange":  # beyond the object's end there are no bytes
                    return b""
                raise
            try:
                return bytes(answer.read())
            finally:
                answer.close()
                answer.release_conn()


def _full(key: str) -> StorageFull:
    return StorageFull(f"the object store has no room for {key!r}; free some space there and try again", key=key)


def _refused_put(key: str, status: int, body: bytes) -> Exception:
    text = body[:2000].decode("utf-8", "replace")
    if any(code in text for code in _FULL):
        return _full(key)
    if status in {401, 403}:
        return Forbidden(f"the object store refused to write {key!r}: check its credentials", key=key)
    if status >= 500 or status == _CONFLICT:
        return StoreUnavailable(f"the object store answered {status} to a write of {key!r}", key=key)
    return Internal(f"the object store answered {status} to a write of {key!r}: {text}", key=key)
