"""API keys: made here, kept as hashes, compared in constant time, limited a key.

A key reads `us_<id>_<secret>`. The secret has 256 random bits, so that one SHA-256 keeps it: there is nothing to guess.
While a key is rotated its old secret stays valid beside the new one for as long as was asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from gateway import sql, tables
from gateway.resources import now
from services.common.errors import InvalidOption, QuotaExceeded, ResourceNotFound, Unauthenticated

Scope = Literal["read", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "admin")
_PREFIX = "us"
_NOBODY = "0" * 64


class Key(BaseModel):
    """What is kept of a key. Limits of 0 are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    previous_sha256: str = ""
    previous_until: str = ""
    transfers_at_once: int = Field(default=0, ge=0)
    upload_bytes_a_day: int = Field(default=0, ge=0)
    create_time: str = Field(default_factory=now)

    def allows(self, scope: Scope) -> bool:
        """Whoever may write may read; an administrator may do both."""
        return any(SCOPES.index(own) >= SCOPES.index(scope) for own in self.scopes)

    def public(self) -> dict[str, object]:
        """Everything but the hashes."""
        return self.model_dump(mode="json", exclude={"sha256", "previous_sha256"})

    def has(self, secret: str) -> bool:
        """Whether it is the secret, or the one before while that is still valid. Takes the same time for any."""
        digest = _digest(secret)
        current = hmac.compare_digest(digest, self.sha256)
        previous = hmac.compare_digest(digest, self.previous_sha256 or _NOBODY)
        return current or (previous and now() < self.previous_until)


class Keys:
    """The keys of a database. Synchronous; call it from a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def create(
        self, name: str, scopes: Iterable[str], *, transfers_at_once: int = 0, upload_bytes_a_day: int = 0
    ) -> tuple[Key, str]:
        """The key and its text, which is never seen again. Raises InvalidOption for a scope that there is not."""
        chosen = tuple(scope for scope in SCOPES if scope in set(scopes))
        unknown = set(scopes) - set(SCOPES)
        if unknown or not chosen:
            raise InvalidOption(f"scopes are {', '.join(SCOPES)}; got {', '.join(sorted(unknown)) or 'none'}")
        secret = secrets.token_urlsafe(32)
        key = Key(
            id=secrets.token_hex(6),
            name=name,
            scopes=chosen,
            sha256=_digest(secret),
            transfers_at_once=transfers_at_once,
            upload_bytes_a_day=upload_bytes_a_day,
        )
        new = sa.insert(tables.keys).values(id=key.id, document=key.model_dump_json())
        sql.run(self._engine, lambda connection: connection.execute(new))
        return key, f"{_PREFIX}_{key.id}_{secret}"

    def rotate(self, key_id: str, overlap_seconds: float) -> tuple[Key, str]:
        """A new secret; the old one is valid for so long yet. Raises ResourceNotFound."""
        secret = secrets.token_urlsafe(32)
        key = self._get(key_id)
        until = (datetime.now(UTC) + timedelta(seconds=overlap_seconds)).isoformat(timespec="milliseconds")
        changes = {
            "sha256": _digest(secret),
            "previous_sha256": key.sha256,
            "previous_until": until.replace("+00:00", "Z"),
        }
        key = key.model_copy(update=changes)
        change = sa.update(tables.keys).where(tables.keys.c.id == key_id).values(document=key.model_dump_json())
        sql.run(self._engine, lambda connection: connection.execute(change))
        return key, f"{_PREFIX}_{key.id}_{secret}"

    def list(self) -> list[Key]:
        """All, oldest first."""
        query = sa.select(tables.keys.c.document).order_by(tables.keys.c.number)
        rows = sql.run(self._engine, lambda connection: connection.execute(query).all())
        return [Key.model_validate_json(row.document) for row in rows]

    def revoke(self, key_id: str) -> None:
        """Raises ResourceNotFound."""
        gone = sa.delete(tables.keys).where(tables.keys.c.id == key_id)
        if not sql.run(self._engine, lambda connection: connection.execute(gone).rowcount):
            raise ResourceNotFound(f"no key {key_id!r}; `understudy keys list` shows all", id=key_id)

    def verify(self, text: str) -> Key:
        """The key that `text` is. Raises Unauthenticated, the same for any reason."""
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        try:
            key = self._get(key_id)
        except ResourceNotFound:
            key = Key(id="", name="", scopes=(), sha256=_NOBODY)  # an unknown id takes the time of a known one
        if not key.has(secret) or prefix != _PREFIX or not key.id:
            raise Unauthenticated("this key is not, or no longer, one of this gateway's")
        return key

    def count_upload(self, key: Key, size_bytes: int) -> None:
        """Adds to what the key has uploaded today. Raises QuotaExceeded, and nothing is counted, beyond its limit."""
        table, today = tables.key_uploads, _today()
        limit = key.upload_bytes_a_day
        if limit and size_bytes > limit:
            raise _too_much(limit, limit)
        statement = sql.upsert(self._engine)(table).values(key_id=key.id, day=today, size_bytes=size_bytes)
        total = table.c.size_bytes + size_bytes
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.key_id, table.c.day],
            set_={"size_bytes": total},
            where=(total <= limit) if limit else None,
        ).returning(table.c.size_bytes)
        if sql.run(self._engine, lambda connection: connection.execute(statement).first()) is None:
            raise _too_much(limit, self.uploaded_today(key))

    def uploaded_today(self, key: Key) -> int:
        table = tables.key_uploads
        query = sa.select(table.c.size_bytes).where(table.c.key_id == key.id, table.c.day == _today())
        return int(sql.run(self._engine, lambda connection: connection.execute(query).scalar()) or 0)

    def _get(self, key_id: str) -> Key:
        query = sa.select(tables.keys.c.document).where(tables.keys.c.id == key_id)
        document = sql.run(self._engine, lambda connection: connection.execute(query).scalar())
        if document is None:
            raise ResourceNotFound(f"no key {key_id!r}; `understudy keys list` shows all", id=key_id)
        return Key.model_validate_json(document)


def count_against(connection: sa.Connection, key: Key, transfer_id: str) -> None:
    """Notes in the same transaction whose transfer it is. Raises QuotaExceeded when that is one too many."""
    owners = tables.key_transfers
    # a lock on the key's row: of requests at the same moment the second sees the first's transfer
    connection.execute(sa.update(tables.keys).where(tables.keys.c.id == key.id).values(id=key.id))
    under_way = sa.select(sa.func.count()).select_from(
        owners.join(tables.transfers, tables.transfers.c.id == owners.c.transfer_id)
    )
    count = connection.execute(under_way.where(owners.c.key_id == key.id, tables.is_active)).scalar() or 0
    if key.transfers_at_once and count >= key.transfers_at_once:
        raise QuotaExceeded(
            f"this key may have {key.transfers_at_once} transfers under way, and has: wait for one, or cancel it",
            limit=key.transfers_at_once,
        )
    connection.execute(sa.insert(owners).values(transfer_id=transfer_id, key_id=key.id))


def _too_much(limit: int, used: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"this key may upload {limit:,} bytes a day and has uploaded {used:,}: try again tomorrow (UTC)",
        limit_bytes=limit, used_bytes=used,
    )  # fmt: skip


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
