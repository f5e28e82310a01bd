"""The other end of `child`: limits that a child process sets for itself, and how it speaks."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from services.common.errors import StorageFull, UnderstudyError

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MAX_FILE_BYTES = 8 * 1024**3
_MAX_OPEN_FILES = 256


def say(message: dict[str, Any]) -> None:
    """One line to the parent; a message with `"wait": true` waits for the parent's word."""
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()
    if message.get("wait"):
        sys.stdin.readline()


def serve(work: Callable[[dict[str, Any]], None]) -> None:
    """Reads the request, bounds this process, works, and reports errors of the tree to the parent."""
    request = json.loads(sys.stdin.readline())
    _confine(int(request["memory_bytes"]), int(request["parent"]))
    try:
        work(request)
    except UnderstudyError as error:
        say({"error": {"reason": error.reason, "message": error.message, "metadata": error.metadata}})
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        full = StorageFull("there is no room for the decoded frames; free some space and try again")
        say({"error": {"reason": full.reason, "message": full.message, "metadata": {}}})


def _confine(memory_bytes: int, parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, _MAX_OPEN_FILES))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # the parent ended before its end could be asked for
