"""Exit codes of the command line, and how it says what went wrong."""

from __future__ import annotations

from enum import IntEnum

from services.common import errors


class Exit(IntEnum):
    """What the exit code means."""

    OK = 0
    FAILED = 1
    """Something of ours went wrong; trying again may help."""
    USAGE = 2
    """The command or its options must change."""
    UNUSABLE_VIDEO = 3
    """A video cannot be used; the message says what to change."""
    UNREACHABLE = 4
    """An address could not be fetched."""
    NO_ROOM = 5
    """Nowhere to write: disk full or not permitted."""
    INTERRUPTED = 130
    """Stopped by the user; the same command goes on."""


_BY_ERROR: tuple[tuple[type[errors.UnderstudyError], Exit], ...] = (
    (errors.DownloadFailed, Exit.UNREACHABLE),
    (errors.UnsafeAddress, Exit.UNREACHABLE),
    (errors.InvalidOption, Exit.USAGE),
    (errors.Conflict, Exit.USAGE),
    (errors.NotFound, Exit.USAGE),
    (errors.InvalidInput, Exit.UNUSABLE_VIDEO),
    (errors.StorageFull, Exit.NO_ROOM),
    (errors.Forbidden, Exit.NO_ROOM),
    (errors.Cancelled, Exit.INTERRUPTED),
)


def exit_code(kind: type[errors.UnderstudyError]) -> Exit:
    """The exit code of an error's class."""
    for ancestor, code in _BY_ERROR:
        if issubclass(kind, ancestor):
            return code
    return Exit.FAILED
