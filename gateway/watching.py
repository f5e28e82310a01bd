"""Waiting for stage calls while saying how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from gateway.resources import StageProgress

_TELL_SECONDS = 0.3


async def watched(
    task: asyncio.Task[Any], progress: Callable[[], list[StageProgress]]
) -> AsyncGenerator[list[StageProgress], None]:
    """What `progress` says, again and again until the task has ended. The task ends with this generator."""
    try:
        while not task.done():
            yield progress()
            await asyncio.wait({task}, timeout=_TELL_SECONDS)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
