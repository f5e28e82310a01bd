"""Every error that Understudy raises on purpose, as one tree.

    UnderstudyError
    ├── InvalidInput                 the caller must change something
    │   ├── InvalidOption
    │   ├── UnreadableVideo
    │   │   └── NoVideoStream
    │   ├── VideoTooShort
    │   ├── VideoTooLong
    │   ├── FrameTooLarge
    │   ├── FrameTooSmall
    │   ├── FileTooLarge
    │   ├── NoPersonFound
    │   ├── PersonTooSmall
    │   ├── ClipTooShort
    │   ├── UnsafeAddress
    │   └── DownloadFailed
    │       └── DownloadTimedOut
    ├── NotFound
    │   ├── ArtifactNotFound
    │   ├── ObjectNotFound
    │   └── ResourceNotFound
    ├── Conflict                     the resource's state forbids the call
    ├── Unauthenticated              no key, or not one of ours
    ├── Forbidden
    ├── QuotaExceeded                the key's limit is reached
    ├── WorkerBusy                   another worker may have less to do
    ├── DataCorrupted                bytes differ from their checksum
    ├── StorageFull
    ├── StoreUnavailable
    ├── ServiceUnavailable
    │   └── WeightsMissing
    ├── Cancelled
    ├── DeadlineExceeded
    └── Internal

Each class carries its meaning for both protocols: the gRPC status code (by name, so that code which never speaks
gRPC need not import it), the HTTP status, a stable UPPER_SNAKE reason (google.rpc.ErrorInfo, AIP-193) and whether
the same call can succeed later. Keyword arguments of the constructor become the error's metadata: every dynamic
value of the message, for machines.
"""

from __future__ import annotations

from typing import ClassVar

DOMAIN = "understudy"


class UnderstudyError(Exception):
    """Base of the tree. `message` says what happened and what to do about it."""

    grpc_code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, /, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = {name: str(value) for name, value in metadata.items()}

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.metadata))


def _rebuild(kind: type[UnderstudyError], message: str, metadata: dict[str, str]) -> UnderstudyError:
    return kind(message, **metadata)


class InvalidInput(UnderstudyError):
    grpc_code, http_status, reason = "INVALID_ARGUMENT", 400, "INVALID_INPUT"


class InvalidOption(InvalidInput):
    reason = "INVALID_OPTION"


class UnreadableVideo(InvalidInput):
    reason = "UNREADABLE_VIDEO"


class NoVideoStream(UnreadableVideo):
    reason = "NO_VIDEO_STREAM"


class VideoTooShort(InvalidInput):
    reason = "VIDEO_TOO_SHORT"


class VideoTooLong(InvalidInput):
    reason = "VIDEO_TOO_LONG"


class FrameTooLarge(InvalidInput):
    reason = "FRAME_TOO_LARGE"


class FrameTooSmall(InvalidInput):
    reason = "FRAME_TOO_SMALL"


class FileTooLarge(InvalidInput):
    http_status, reason = 413, "FILE_TOO_LARGE"


class NoPersonFound(InvalidInput):
    http_status, reason = 422, "NO_PERSON_FOUND"


class PersonTooSmall(InvalidInput):
    http_status, reason = 422, "PERSON_TOO_SMALL"


class ClipTooShort(InvalidInput):
    http_status, reason = 422, "CLIP_TOO_SHORT"


class UnsafeAddress(InvalidInput):
    reason = "UNSAFE_ADDRESS"


class DownloadFailed(InvalidInput):
    """The other side answered, and it was a refusal or not a video."""

    reason = "DOWNLOAD_FAILED"


class DownloadTimedOut(DownloadFailed):
    grpc_code, http_status, reason = "DEADLINE_EXCEEDED", 504, "DOWNLOAD_TIMED_OUT"


class NotFound(UnderstudyError):
    grpc_code, http_status, reason = "NOT_FOUND", 404, "NOT_FOUND"


class ArtifactNotFound(NotFound):
    reason = "ARTIFACT_NOT_FOUND"


class ObjectNotFound(NotFound):
    reason = "OBJECT_NOT_FOUND"


class ResourceNotFound(NotFound):
    reason = "RESOURCE_NOT_FOUND"


class Conflict(UnderstudyError):
    grpc_code, http_status, reason = "FAILED_PRECONDITION", 409, "CONFLICT"


class Unauthenticated(UnderstudyError):
    grpc_code, http_status, reason = "UNAUTHENTICATED", 401, "UNAUTHENTICATED"


class Forbidden(UnderstudyError):
    grpc_code, http_status, reason = "PERMISSION_DENIED", 403, "FORBIDDEN"


class QuotaExceeded(UnderstudyError):
    grpc_code, http_status, reason, retryable = "RESOURCE_EXHAUSTED", 429, "QUOTA_EXCEEDED", True


class WorkerBusy(UnderstudyError):
    """A worker has enough to do, and another one may not. Callers ask for it (`stage.most_waiting`)."""

    grpc_code, http_status, reason, retryable = "RESOURCE_EXHAUSTED", 503, "WORKER_BUSY", True


class DataCorrupted(UnderstudyError):
    """Stored bytes differ from the checksum in their manifest. Metadata: kind, key, object."""

    grpc_code, http_status, reason = "DATA_LOSS", 500, "DATA_CORRUPTED"


class StorageFull(UnderstudyError):
    grpc_code, http_status, reason = "RESOURCE_EXHAUSTED", 507, "STORAGE_FULL"


class StoreUnavailable(UnderstudyError):
    grpc_code, http_status, reason, retryable = "UNAVAILABLE", 503, "STORE_UNAVAILABLE", True


class ServiceUnavailable(UnderstudyError):
    grpc_code, http_status, reason, retryable = "UNAVAILABLE", 503, "SERVICE_UNAVAILABLE", True


class WeightsMissing(ServiceUnavailable):
    """A model's weights are not on this machine. Waiting does not bring them."""

    reason, retryable = "WEIGHTS_MISSING", False


class Cancelled(UnderstudyError):
    grpc_code, http_status, reason = "CANCELLED", 499, "CANCELLED"


class DeadlineExceeded(UnderstudyError):
    grpc_code, http_status, reason, retryable = "DEADLINE_EXCEEDED", 504, "DEADLINE_EXCEEDED", True


class Internal(UnderstudyError):
    """A fault of ours. `retryable` because a worker that restarts often succeeds; callers bound their tries."""

    retryable = True


def all_errors(root: type[UnderstudyError] = UnderstudyError) -> list[type[UnderstudyError]]:
    """The whole tree in drawing order, root first. A subclass made elsewhere travels as its parent: it is not in it."""
    found = [root]
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            found.extend(all_errors(child))
    return found


def by_reason(reason: str) -> type[UnderstudyError]:
    """The class that has this reason; `Internal` when no class has."""
    for kind in all_errors():
        if kind.reason == reason and kind is not UnderstudyError:
            return kind
    return Internal
