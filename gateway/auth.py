"""Who may call what, the same on both doors: `authorization: Bearer us_…`, as HTTP header and as gRPC metadata."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from fastapi import FastAPI, Request, Response

from gateway.keys import Key, Keys, Scope
from services.common.errors import Forbidden, Unauthenticated, UnderstudyError

Handler = Any  # grpc.RpcMethodHandler; its four behaviours are typed as Any by grpc itself

OPEN_PATHS: Final = {"/healthz", "/readyz", "/metrics", "/docs", "/docs/oauth2-redirect", "/openapi.json"}
_ADMIN_PATHS: Final = "/v1/keys"
_READING: Final = ("Get", "List", "Watch", "Read")
_OURS: Final = "/understudy.v1.GatewayService/"
_REMEMBER_SECONDS = 5.0
_MOST_REMEMBERED = 1000

_caller: contextvars.ContextVar[Key | None] = contextvars.ContextVar("understudy_caller", default=None)


def caller() -> Key | None:
    """The key of the call that is being answered; None where keys are off."""
    return _caller.get()


class Auth:
    """keys: None lets everybody in. admin_key: the text of a key that is always valid, from the settings; "" for none.

    A key that was valid is believed for five seconds: that long a revoked one lives on in a gateway that just saw it.
    """

    def __init__(self, keys: Keys | None, admin_key: str = "") -> None:
        self._keys = keys
        self._admin_digest = hashlib.sha256(admin_key.encode()).digest() if admin_key else b""
        self._remembered: dict[bytes, tuple[Key, float]] = {}

    async def admit(self, authorization: str, scope: Scope) -> None:
        """Remembers the caller for `caller`. Raises Unauthenticated, or Forbidden when the key's scopes do not do."""
        if self._keys is None:
            return
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer" or not text:
            raise Unauthenticated("give an API key: authorization: Bearer us_…; `understudy keys create` makes one")
        key = await self._verify(text.strip())
        if not key.allows(scope):
            raise Forbidden(f"this key may {' and '.join(key.scopes)}; the call needs {scope}", scope=scope)
        _caller.set(key)

    async def _verify(self, text: str) -> Key:
        digest = hashlib.sha256(text.encode()).digest()
        if self._admin_digest and hmac.compare_digest(digest, self._admin_digest):
            return Key(id="", name="admin", scopes=("admin",), sha256="")
        found = self._remembered.get(digest)
        if found is not None and time.monotonic() < found[1]:
            return found[0]
        assert self._keys is not None
        key = await asyncio.to_thread(self._keys.verify, text)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = (key, time.monotonic() + _REMEMBER_SECONDS)
        return key


def add_auth(app: FastAPI, auth: Auth, problem: Callable[[UnderstudyError, str], Response]) -> None:
    """Asks every HTTP request for a key, except probes, metrics and the API's description."""

    @app.middleware("http")
    async def ask(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.url.path
        if path not in OPEN_PATHS:
            try:
                await auth.admit(request.headers.get("authorization", ""), _scope_of_request(request.method, path))
            except UnderstudyError as error:
                return problem(error, path)
        return await call_next(request)


def _scope_of_request(method: str, path: str) -> Scope:
    if path == _ADMIN_PATHS or path.startswith(f"{_ADMIN_PATHS}/"):
        return "admin"
    # looking for people makes the workers work
    return "read" if method in {"GET", "HEAD"} and "/people" not in path else "write"


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Asks every gRPC call of ours for a key; health and reflection answer anybody. Goes inside CallInterceptor, which
    makes a status of what is raised here."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(_OURS):
            return handler
        name = handler_call_details.method.removeprefix(_OURS)
        scope: Scope = "read" if name.startswith(_READING) else "write"
        headers = {key: str(value) for key, value in handler_call_details.invocation_metadata or ()}
        authorization = headers.get("authorization", "")

        def asked(inner: Any) -> Any:
            async def once(request: Any, context: Any) -> Any:
                await self._auth.admit(authorization, scope)
                return await inner(request, context)

            async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
                await self._auth.admit(authorization, scope)
                async for answer in inner(request, context):
                    yield answer

            return stream if handler.response_streaming else once

        kind = "_".join(
            "stream" if each else "unary" for each in (handler.request_streaming, handler.response_streaming)
        )
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(asked(getattr(handler, kind)), handler.request_deserializer, handler.response_serializer)
