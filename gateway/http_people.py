"""HTTP/JSON: who is in a clip."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Response
from fastapi.responses import StreamingResponse

from gateway.http_events import events_of
from gateway.resources import ClipPeople, ClipUse
from gateway.service import Understudy
from services.common.errors import ResourceNotFound


def _use(
    clip_id: str,
    start_seconds: Annotated[float, Query(ge=0, description="Seconds from the first frame.")] = 0.0,
    end_seconds: Annotated[float, Query(ge=0, description="Seconds from the first frame; 0 is the end.")] = 0.0,
    max_frames: Annotated[int, Query(ge=0, description="Most frames; 0 is all.")] = 0,
) -> ClipUse:
    return ClipUse(clip_id=clip_id, start_seconds=start_seconds, end_seconds=end_seconds, max_frames=max_frames)


_Use = Annotated[ClipUse, Depends(_use)]


def add_people(app: FastAPI, understudy: Understudy) -> None:
    """The routes under /v1/clips/{clip_id}/people."""

    @app.get("/v1/clips/{clip_id}/people", tags=["clips"])
    async def find_people(use: _Use) -> ClipPeople:
        """Everybody, numbered. Takes as long as finding poses in the whole clip, the first time."""
        return await understudy.people.find(use)

    @app.get("/v1/clips/{clip_id}/people/events", tags=["clips"])
    async def watch_people(use: _Use) -> StreamingResponse:
        """Server-sent events: {"stages": [...]} now and then, at last {"people": {...}} or {"problem": {...}}."""
        await understudy.clip(use.clip_id)  # an unknown one is a problem document, not a stream

        return StreamingResponse(events_of("people", understudy.people.watch(use)), media_type="text/event-stream")

    @app.get("/v1/clips/{clip_id}/people/sheet", tags=["clips"], response_class=Response)
    async def people_sheet(use: _Use) -> Response:
        """The contact sheet with everybody's number, JPEG."""
        found = await understudy.people.find(use)
        sheet = await understudy.people.sheet(found)
        if not sheet:
            raise ResourceNotFound(f"nobody is seen in any of the {found.frame_count} frames", id=use.clip_id)
        return Response(sheet, media_type="image/jpeg")
