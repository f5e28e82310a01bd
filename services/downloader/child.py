"""Running untrusted work in a process of its own, with bounded memory and time.

The child is a module of this package. It gets its request as one line of JSON, answers with lines of JSON, and waits
for a line after each answer that says `"wait": true`, so it never runs far ahead. It inherits no settings and no
secrets. Whatever happens to it, the service sees one error.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.common.errors import UnreadableVideo, by_reason
from services.common.stage import Job

_ROOT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.2
_MIB = 1024 * 1024
_MAX_LINE = 16 * _MIB
_STDERR_TAIL = 2000


class Child:
    """One child process and its answers."""

    def __init__(
        self,
        module: str,
        request: dict[str, Any],
        *,
        memory_bytes: int,
        silence_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._module, self._request = module, request
        self._memory_bytes = memory_bytes
        self._silence_seconds, self._timeout_seconds = silence_seconds, timeout_seconds

    def messages(self, job: Job) -> Iterator[dict[str, Any]]:
        """The child's answers until it ends well; it is killed when the caller stops iterating.

        Raises the error that the child reports, UnreadableVideo when it crashes, hangs or outgrows its memory, and
        what `job.check` raises.
        """
        command = [sys.executable, "-m", self._module]
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(),
            bufsize=0,  # what a child that has ended did not take would be sent again, and fail again, at the end
        ) as process:  # fmt: skip
            try:
                yield from self._converse(process, job)
                self._check_end(process)
            finally:
                process.kill()

    def _converse(self, process: subprocess.Popen[bytes], job: Job) -> Iterator[dict[str, Any]]:
        request = {"memory_bytes": self._memory_bytes, "parent": os.getpid(), **self._request}
        _send(process, request)
        ended = False
        for message in self._lines(process, job):
            if error := message.get("error"):
                raise by_reason(error["reason"])(error["message"], **error["metadata"])
            ended = bool(message.get("done"))
            yield message
            if message.get("wait"):
                _send(process, {})
        if not ended and process.wait(5) == 0:
            raise UnreadableVideo("the decoder ended without a result")

    def _lines(self, process: subprocess.Popen[bytes], job: Job) -> Iterator[dict[str, Any]]:
        assert process.stdout is not None
        reader = process.stdout.fileno()
        pending = b""
        started = heard = time.monotonic()
        while True:
            job.check()
            now = time.monotonic()
            if now - heard > self._silence_seconds or now - started > self._timeout_seconds:
                raise UnreadableVideo(
                    f"decoding stood still for {now - heard:.0f} s ({now - started:.0f} s in all) and was ended; "
                    "the file is damaged or made to do harm: convert it with another program first",
                    silent_seconds=round(now - heard),
                )
            if not select.select([reader], [], [], _POLL_SECONDS)[0]:
                continue
            data = os.read(reader, 65536)
            if not data:
                return
            heard = time.monotonic()
            *lines, pending = (pending + data).split(b"\n")
            if len(pending) > _MAX_LINE:
                raise UnreadableVideo("the decoder's answer has no end")
            for line in lines:
                yield json.loads(line)

    def _check_end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        code = process.wait(5)
        if code == 0:
            return
        said = process.stderr.read()[-_STDERR_TAIL:].decode(errors="replace").strip().splitlines()
        last = said[-1] if said else ""
        if "MemoryError" in last or code == -signal.SIGKILL:
            raise UnreadableVideo(
                f"decoding needs more than {self._memory_bytes / _MIB:.0f} MiB of memory; scale the video down first",
                limit_bytes=self._memory_bytes,
            )
        raise UnreadableVideo(
            f"the decoder broke on this file (exit {code}); convert it with another program first",
            exit_code=code,
            detail=last[:300],
        )


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    try:
        rest = json.dumps(message).encode() + b"\n"
        while rest:
            rest = rest[process.stdin.write(rest) :]
    except BrokenPipeError:
        pass  # it has ended; what it said, and how, tells why


def _environment() -> dict[str, str]:
    """Nothing of the service's own settings; few memory arenas, since address space is bounded.

    Pillow keeps the memory of its last pictures for the next ones, which saves up to a tenth of the work.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(_ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "4",
        "PILLOW_BLOCKS_MAX": "8",
    }
