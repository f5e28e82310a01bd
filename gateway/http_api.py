"""HTTP/JSON: a thin adapter over `Understudy`. Errors are RFC 9457 problem documents."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from gateway.auth import Auth, add_auth
from gateway.http_evaluations import add_evaluations
from gateway.http_keys import add_keys
from gateway.http_people import add_people
from gateway.http_problems import problem_of
from gateway.metrics import GatewayMetrics
from gateway.resources import Clip, Performer, Transfer, TransferRequest, invalid_input
from gateway.service import Understudy
from services.common.errors import Forbidden, InvalidInput, UnderstudyError
from services.common.telemetry import logger

_log = logger(__name__)
PageSize = Annotated[int, Query(description="Most on a page; 0 is 50, more than 500 is 500.")]
PageToken = Annotated[str, Query(description="next_page_token of the page before.")]


class ClipAddress(BaseModel):
    """A video to fetch."""

    url: str
    display_name: str = ""


class ClipPage(BaseModel):
    """Clips, newest first."""

    clips: list[Clip]
    next_page_token: str


class PerformerPage(BaseModel):
    """Performers, newest first."""

    performers: list[Performer]
    next_page_token: str


class TransferPage(BaseModel):
    """Transfers, newest first."""

    transfers: list[Transfer]
    next_page_token: str


def create_app(understudy: Understudy, allowed_hosts: str, metrics: GatewayMetrics, auth: Auth) -> FastAPI:
    """The application. `allowed_hosts`: names that requests may be addressed to, comma separated; * for any."""
    app = FastAPI(title="Understudy", version="1", description="Motion transfer: clips, performers, transfers.")
    add_auth(app, auth, _problem)  # innermost: what is added later comes before it
    _add_guard(app, allowed_hosts)
    _add_counting(app, metrics)
    _add_errors(app)
    _add_probes(app, understudy, metrics)
    _add_clips(app, understudy)
    add_people(app, understudy)
    _add_performers(app, understudy)
    add_evaluations(app, understudy)
    _add_transfers(app, understudy)
    add_keys(app, understudy.keys)
    return app


def _add_guard(app: FastAPI, allowed_hosts: str) -> None:
    allowed = {host.strip().lower() for host in allowed_hosts.split(",") if host.strip()}

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        # a page of another site, or a name rebound to loopback, must not reach a gateway that asks for no password
        if "*" not in allowed:
            origin = request.headers.get("origin")
            hosts = [_host(f"//{request.headers.get('host', '')}"), *([_host(origin)] if origin else [])]
            for host in hosts:
                if host not in allowed:
                    return _problem(Forbidden(f"requests for {host!r} are refused", host=host), request.url.path)
        return await call_next(request)


def _add_counting(app: FastAPI, metrics: GatewayMetrics) -> None:
    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        # the route is known only after the call: a path that was made up must not become a series
        began, code = time.monotonic(), "500"
        try:
            answer = await call_next(request)
            code = str(answer.status_code)
            return answer
        finally:
            route = request.scope.get("route")
            name = f"{request.method} {route.path}" if isinstance(route, APIRoute) else "unknown"
            metrics.calls.labels("http", name, code).inc()
            metrics.call_seconds.labels("http", name).observe(time.monotonic() - began)


def _host(url: str) -> str:
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return url
    return f"[{name}]" if ":" in name else name


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UnderstudyError)
    async def known(request: Request, error: UnderstudyError) -> Response:
        return _problem(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _problem(invalid_input(error.errors(), outer=1), request.url.path)


def _problem(error: UnderstudyError, instance: str) -> JSONResponse:
    return JSONResponse(
        problem_of(error, instance),
        status_code=error.http_status,
        media_type="application/problem+json",
        headers={"WWW-Authenticate": "Bearer"} if error.http_status == 401 else None,
    )


def _add_probes(app: FastAPI, understudy: Understudy, metrics: GatewayMetrics) -> None:
    @app.get("/healthz", tags=["probes"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"])
    async def readyz(response: Response) -> dict[str, bool]:
        """Every part answers; 503 while one does not."""
        parts = await understudy.ready()
        response.status_code = 200 if all(parts.values()) else 503
        return parts

    @app.get("/metrics", tags=["probes"])
    async def prometheus() -> Response:
        """Prometheus metrics of the gateway."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_clips(app: FastAPI, understudy: Understudy) -> None:
    @app.post("/v1/clips", status_code=201, tags=["clips"])
    async def create_clip(request: Request, display_name: str = "") -> Clip:
        """Takes a video in: its bytes as the body, or `{"url": ...}` as application/json."""
        if request.headers.get("content-type", "").startswith("application/json"):
            try:
                address = ClipAddress.model_validate(await request.json())
            except ValueError as error:
                raise InvalidInput(f"not a clip's address: {error}") from error
            return await understudy.create_clip_of_url(address.url, address.display_name)
        return await understudy.create_clip(request.stream(), display_name)

    @app.get("/v1/clips", tags=["clips"])
    async def list_clips(page_size: PageSize = 0, page_token: PageToken = "") -> ClipPage:
        clips, token = await understudy.clips(page_size, page_token)
        return ClipPage(clips=clips, next_page_token=token)

    @app.get("/v1/clips/{clip_id}", tags=["clips"])
    async def get_clip(clip_id: str) -> Clip:
        return await understudy.clip(clip_id)

    @app.delete("/v1/clips/{clip_id}", status_code=204, tags=["clips"])
    async def delete_clip(clip_id: str) -> None:
        await understudy.delete_clip(clip_id)


def _add_performers(app: FastAPI, understudy: Understudy) -> None:
    @app.get("/v1/performers", tags=["performers"])
    async def list_performers(page_size: PageSize = 0, page_token: PageToken = "") -> PerformerPage:
        performers, token = await understudy.performers(page_size, page_token)
        return PerformerPage(performers=performers, next_page_token=token)

    @app.get("/v1/performers/{performer_id}", tags=["performers"])
    async def get_performer(performer_id: str) -> Performer:
        return await understudy.performer(performer_id)

    @app.delete("/v1/performers/{performer_id}", status_code=204, tags=["performers"])
    async def delete_performer(performer_id: str) -> None:
        await understudy.delete_performer(performer_id)


def _add_transfers(app: FastAPI, understudy: Understudy) -> None:
    @app.post("/v1/transfers", status_code=201, tags=["transfers"])
    async def create_transfer(request: TransferRequest) -> Transfer:
        return await understudy.create_transfer(request)

    @app.get("/v1/transfers", tags=["transfers"])
    async def list_transfers(page_size: PageSize = 0, page_token: PageToken = "") -> TransferPage:
        transfers, token = await understudy.transfers(page_size, page_token)
        return TransferPage(transfers=transfers, next_page_token=token)

    @app.get("/v1/transfers/{transfer_id}", tags=["transfers"])
    async def get_transfer(transfer_id: str) -> Transfer:
        return await understudy.transfer(transfer_id)

    @app.get("/v1/transfers/{transfer_id}/events", tags=["transfers"])
    async def watch_transfer(transfer_id: str) -> StreamingResponse:
        """Server-sent events: the transfer now and after each change, until it has ended."""
        await understudy.transfer(transfer_id)  # an unknown one is a problem document, not an empty stream

        async def events() -> AsyncIterator[str]:
            async for transfer in understudy.watch_transfer(transfer_id):
                yield f"data: {json.dumps(transfer.model_dump(mode='json'))}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/v1/transfers/{transfer_id}/result", tags=["transfers"])
    async def result(transfer_id: str, output: str = "") -> FileResponse:
        """The file, ranges included. output: "mp4", "gif", "webm", "png" or "side_by_side"; empty is the first."""
        path, found = await understudy.result_file(transfer_id, output)
        name = f"understudy-{transfer_id[:8]}-{found.name}{PurePosixPath(found.object_name).suffix}"
        return FileResponse(path, media_type=found.media_type, filename=name, content_disposition_type="inline")

    @app.post("/v1/transfers/{transfer_id}/cancel", tags=["transfers"])
    async def cancel_transfer(transfer_id: str) -> Transfer:
        return await understudy.cancel_transfer(transfer_id)

    @app.delete("/v1/transfers/{transfer_id}", status_code=204, tags=["transfers"])
    async def delete_transfer(transfer_id: str) -> None:
        await understudy.delete_transfer(transfer_id)
