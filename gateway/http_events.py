"""Server-sent events of work that says how far it is and ends with a resource or a problem."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator

from pydantic import BaseModel

from gateway.http_problems import problem_of
from gateway.resources import StageProgress
from services.common.errors import UnderstudyError


async def events_of(name: str, updates: AsyncGenerator[list[StageProgress] | BaseModel, None]) -> AsyncIterator[str]:
    """{"stages": [...]} for progress, then {name: {...}} or {"problem": {...}}."""
    try:
        async with contextlib.aclosing(updates):
            async for update in updates:
                if isinstance(update, BaseModel):
                    document: dict[str, object] = {name: update.model_dump(mode="json")}
                else:
                    document = {"stages": [stage.model_dump(mode="json") for stage in update]}
                yield f"data: {json.dumps(document)}\n\n"
    except UnderstudyError as error:
        yield f"data: {json.dumps({'problem': problem_of(error, '')})}\n\n"
