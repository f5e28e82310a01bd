"""Where the gateway keeps its resources: small tables of JSON documents, SQLite or PostgreSQL.

Several gateways may share one PostgreSQL: every change is one atomic statement, and what must happen only once (a
name, the transfer of a request id, a transfer's end) is decided by the database.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from gateway import sql, tables
from gateway.keys import Key, count_against
from gateway.resources import Clip, Transfer
from gateway.results import StoredPerformer
from services.common.errors import Conflict, InvalidOption, ResourceNotFound

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_MAX_PAGE = 500
_DEFAULT_PAGE = 50


class Database:
    """All calls are synchronous and short; call them from a thread (`asyncio.to_thread`)."""

    def __init__(self, url: str) -> None:
        self.engine = sql.open_engine(url)
        self._insert = sql.upsert(self.engine)
        try:
            sql.create_tables(self.engine, tables.metadata)
        except BaseException:
            self.engine.dispose()
            raise

    def close(self) -> None:
        self.engine.dispose()

    def ping(self) -> None:
        self._run(lambda connection: connection.execute(sa.text("SELECT 1")))

    # clips

    def save_clip(self, clip: Clip) -> None:
        self._save(tables.clips, clip.id, clip, upload_sha256=clip.upload_sha256)

    def clip(self, clip_id: str) -> Clip:
        return self._get(tables.clips, Clip, clip_id, "clip")

    def clips(self, page_size: int, page_token: str) -> tuple[list[Clip], str]:
        return self._page(tables.clips, Clip, page_size, page_token)

    def clips_of_upload(self, upload_sha256: str) -> list[Clip]:
        return self._where(tables.clips, Clip, tables.clips.c.upload_sha256 == upload_sha256)

    def all_clips(self) -> list[Clip]:
        return self._where(tables.clips, Clip, sa.true())

    def delete_clip(self, clip_id: str) -> None:
        self._delete(tables.clips, clip_id, "clip")

    # performers

    def save_performer(self, performer: StoredPerformer) -> None:
        """Raises Conflict when the name is another performer's."""
        try:
            self._save(tables.performers, performer.id, performer, name=performer.name)
        except sa.exc.IntegrityError as error:
            raise Conflict(f"there is a performer called {performer.name!r} already", name=performer.name) from error

    def performer(self, id_or_name: str) -> StoredPerformer:
        found = self._where(
            tables.performers,
            StoredPerformer,
            (tables.performers.c.id == id_or_name) | (tables.performers.c.name == id_or_name),
        )
        if not found:
            raise ResourceNotFound(f"no performer {id_or_name!r}; `understudy performers list` shows all")
        return found[0]

    def performers(self, page_size: int, page_token: str) -> tuple[list[StoredPerformer], str]:
        return self._page(tables.performers, StoredPerformer, page_size, page_token)

    def all_performers(self) -> list[StoredPerformer]:
        return self._where(tables.performers, StoredPerformer, sa.true())

    def delete_performer(self, performer_id: str) -> None:
        self._delete(tables.performers, performer_id, "performer")

    # transfers

    def add_transfer(self, transfer: Transfer, key: Key | None = None) -> Transfer:
        """Saves a new transfer and returns it; or the one that is under way for its request id.

        Raises QuotaExceeded when `key` has as many under way as it may have.
        """
        values = {
            "id": transfer.id,
            "document": transfer.model_dump_json(),
            "request_id": transfer.request_id or None,
            "state": transfer.state.value,
        }
        new = self._insert(tables.transfers).values(**values).on_conflict_do_nothing().returning(tables.transfers.c.id)

        def add(connection: sa.Connection) -> bool:
            if not connection.execute(new).first():
                return False
            if key is not None:
                count_against(connection, key, transfer.id)  # raises, and the transfer is not there
            return True

        while True:
            if self._run(add):
                return transfer
            known = tables.transfers.c.id == transfer.id
            if transfer.request_id:
                known |= tables.is_active & (tables.transfers.c.request_id == transfer.request_id)
            for found in self._where(tables.transfers, Transfer, known):  # none: it ended between the two statements
                return found

    def save_transfer(self, transfer: Transfer) -> bool:
        """Writes down how a transfer goes. False, and nothing changed, when it has ended or is gone by now."""
        changed = sa.update(tables.transfers).where(tables.transfers.c.id == transfer.id, tables.is_active)
        changed = changed.values(document=transfer.model_dump_json(), state=transfer.state.value)
        return bool(self._run(lambda connection: connection.execute(changed).rowcount))

    def transfer(self, transfer_id: str) -> Transfer:
        return self._get(tables.transfers, Transfer, transfer_id, "transfer")

    def transfers(self, page_size: int, page_token: str) -> tuple[list[Transfer], str]:
        return self._page(tables.transfers, Transfer, page_size, page_token)

    def active_transfers(self, request_id: str = "") -> list[Transfer]:
        active: sa.ColumnElement[bool] = tables.is_active
        if request_id:
            active &= tables.transfers.c.request_id == request_id
        return self._where(tables.transfers, Transfer, active)

    def all_transfers(self) -> list[Transfer]:
        return self._where(tables.transfers, Transfer, sa.true())

    def count_transfers(self) -> dict[str, int]:
        """How many there are in each state."""
        query = sa.select(tables.transfers.c.state, sa.func.count().label("number")).group_by(tables.transfers.c.state)
        rows = self._run(lambda connection: connection.execute(query).all())
        return {row.state: row.number for row in rows}

    def delete_transfer(self, transfer_id: str) -> None:
        self._delete(tables.transfers, transfer_id, "transfer")
        owned = sa.delete(tables.key_transfers).where(tables.key_transfers.c.transfer_id == transfer_id)
        self._run(lambda connection: connection.execute(owned))

    # what stages took on this installation

    def stage_rates(self) -> dict[str, float]:
        rows = self._run(
            lambda connection: connection.execute(
                sa.select(tables.rates.c.stage, tables.rates.c.seconds_per_unit)
            ).all()
        )
        return {row.stage: row.seconds_per_unit for row in rows}

    def save_stage_rate(self, stage: str, seconds_per_unit: float) -> None:
        rate = {"seconds_per_unit": seconds_per_unit}
        statement = self._insert(tables.rates).values(stage=stage, **rate)
        statement = statement.on_conflict_do_update(index_elements=[tables.rates.c.stage], set_=rate)
        self._run(lambda connection: connection.execute(statement))

    # the rest is the same for every table

    def _run(self, work: Callable[[sa.Connection], T]) -> T:
        return sql.run(self.engine, work)

    def _save(self, table: sa.Table, row_id: str, document: BaseModel, **columns: object) -> None:
        values = {"document": document.model_dump_json(), **columns}
        statement = self._insert(table).values(id=row_id, **values)
        statement = statement.on_conflict_do_update(index_elements=[table.c.id], set_=values)
        self._run(lambda connection: connection.execute(statement))

    def _get(self, table: sa.Table, model: type[M], row_id: str, what: str) -> M:
        found = self._where(table, model, table.c.id == row_id)
        if not found:
            raise ResourceNotFound(f"no {what} {row_id!r}; `understudy {what}s list` shows all", id=row_id)
        return found[0]

    def _where(self, table: sa.Table, model: type[M], condition: sa.ColumnElement[bool]) -> list[M]:
        query = sa.select(table.c.document).where(condition).order_by(table.c.number.desc())
        rows = self._run(lambda connection: connection.execute(query).all())
        return [model.model_validate_json(row.document) for row in rows]

    def _page(self, table: sa.Table, model: type[M], page_size: int, page_token: str) -> tuple[list[M], str]:
        if page_size < 0:
            raise InvalidOption("page_size must not be negative", page_size=page_size)
        size = min(page_size or _DEFAULT_PAGE, _MAX_PAGE)
        query = sa.select(table.c.number, table.c.document).order_by(table.c.number.desc()).limit(size + 1)
        if page_token:
            query = query.where(table.c.number < _read_token(page_token))
        rows: Sequence[Any] = self._run(lambda connection: connection.execute(query).all())
        token = _write_token(rows[size - 1].number) if len(rows) > size else ""
        return [model.model_validate_json(row.document) for row in rows[:size]], token

    def _delete(self, table: sa.Table, row_id: str, what: str) -> None:
        gone = sa.delete(table).where(table.c.id == row_id)
        if not self._run(lambda connection: connection.execute(gone).rowcount):
            raise ResourceNotFound(f"no {what} {row_id!r}", id=row_id)


def _write_token(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def _read_token(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token.encode()).decode())
    except (binascii.Error, ValueError) as error:
        raise InvalidOption(f"not a page token: {token!r}; take next_page_token of the page before") from error
