"""HTTP/JSON: how good a performer is."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse

from gateway.http_events import events_of
from gateway.resources import Evaluation
from gateway.service import Understudy


def add_evaluations(app: FastAPI, understudy: Understudy) -> None:
    """The routes under /v1/performers/{performer_id}/evaluation."""

    @app.get("/v1/performers/{performer_id}/evaluation", tags=["performers"])
    async def evaluate(performer_id: str) -> Evaluation:
        """On frames that it never saw, beside what costs no training. Takes up to a minute, the first time."""
        return await understudy.evaluations.find(performer_id)

    @app.get("/v1/performers/{performer_id}/evaluation/events", tags=["performers"])
    async def watch_evaluation(performer_id: str) -> StreamingResponse:
        """Server-sent events: {"stages": [...]} now and then, at last {"evaluation": {...}} or {"problem": {...}}."""
        await understudy.performer(performer_id)  # an unknown one is a problem document, not a stream
        return StreamingResponse(
            events_of("evaluation", understudy.evaluations.watch(performer_id)), media_type="text/event-stream"
        )

    @app.get("/v1/performers/{performer_id}/evaluation/files/{name}", tags=["performers"])
    async def evaluation_file(performer_id: str, name: str) -> FileResponse:
        """ "index.html" (needs the others beside it), "comparison.mp4", "sheet.jpg" or "evaluation.json"."""
        path = await understudy.evaluations.file(performer_id, name)
        return FileResponse(path, filename=name, content_disposition_type="attachment")
