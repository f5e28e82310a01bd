"""API keys over HTTP, for holders of an admin key."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from gateway.keys import Keys, Scope


class NewKey(BaseModel):
    """What a new key may do. Limits of 0 are none."""

    name: str = Field(max_length=100)
    scopes: list[Scope] = ["read", "write"]
    transfers_at_once: int = Field(default=0, ge=0)
    upload_bytes_a_day: int = Field(default=0, ge=0)


class Rotation(BaseModel):
    """How long the old secret stays valid."""

    overlap_seconds: float = Field(default=3600.0, ge=0, le=30 * 86_400)


def add_keys(app: FastAPI, keys: Keys) -> None:
    """The routes under /v1/keys. A key's text is in the answer that makes it, and never seen again."""

    @app.post("/v1/keys", status_code=201, tags=["keys"])
    async def create_key(new: NewKey) -> dict[str, Any]:
        key, text = await asyncio.to_thread(
            keys.create,
            new.name,
            new.scopes,
            transfers_at_once=new.transfers_at_once,
            upload_bytes_a_day=new.upload_bytes_a_day,
        )
        return {**key.public(), "key": text}

    @app.get("/v1/keys", tags=["keys"])
    async def list_keys() -> dict[str, Any]:
        return {"keys": [key.public() for key in await asyncio.to_thread(keys.list)]}

    @app.post("/v1/keys/{key_id}/rotate", tags=["keys"])
    async def rotate_key(key_id: str, rotation: Rotation) -> dict[str, Any]:
        key, text = await asyncio.to_thread(keys.rotate, key_id, rotation.overlap_seconds)
        return {**key.public(), "key": text}

    @app.delete("/v1/keys/{key_id}", status_code=204, tags=["keys"])
    async def revoke_key(key_id: str) -> None:
        await asyncio.to_thread(keys.revoke, key_id)
