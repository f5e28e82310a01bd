"""Where the gateway keeps its resources: three small tables of JSON documents, SQLite or PostgreSQL."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from gateway.resources import Clip, State, Transfer
from gateway.results import StoredPerformer
from services.common.errors import Conflict, InvalidOption, ResourceNotFound, StorageFull, StoreUnavailable

M = TypeVar("M", bound=BaseModel)

_MAX_PAGE = 500
_DEFAULT_PAGE = 50
_metadata = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name,
        _metadata,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), unique=True, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        *columns,
    )


_clips = _table("understudy_clips", sa.Column("upload_sha256", sa.String(64), index=True))
_performers = _table("understudy_performers", sa.Column("name", sa.String(100), unique=True))
_transfers = _table(
    "understudy_transfers",
    sa.Column("request_id", sa.String(200), index=True),
    sa.Column("state", sa.String(16), index=True),
)
_rates = sa.Table(
    "understudy_stage_rates",
    _metadata,
    sa.Column("stage", sa.String(64), primary_key=True),
    sa.Column("seconds_per_unit", sa.Float, nullable=False),
)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        if "disk is full" in str(error) or "No space left" in str(error):
            raise StorageFull("no room left for the gateway's database: free some space and try again") from error
        raise StoreUnavailable(f"the gateway's database does not answer: {error.orig}") from error


class Database:
    """All calls are synchronous and short; call them from a thread (`asyncio.to_thread`)."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_pre_ping=True)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _tune_sqlite)
        with _translated():
            _metadata.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def ping(self) -> None:
        with self._begin() as connection:
            connection.execute(sa.text("SELECT 1"))

    # clips

    def save_clip(self, clip: Clip) -> None:
        self._save(_clips, clip.id, clip, upload_sha256=clip.upload_sha256)

    def clip(self, clip_id: str) -> Clip:
        return self._get(_clips, Clip, clip_id, "clip")

    def clips(self, page_size: int, page_token: str) -> tuple[list[Clip], str]:
        return self._page(_clips, Clip, page_size, page_token)

    def clips_of_upload(self, upload_sha256: str) -> list[Clip]:
        return self._where(_clips, Clip, _clips.c.upload_sha256 == upload_sha256)

    def all_clips(self) -> list[Clip]:
        return self._where(_clips, Clip, sa.true())

    def delete_clip(self, clip_id: str) -> None:
        self._delete(_clips, clip_id, "clip")

    # performers

    def save_performer(self, performer: StoredPerformer) -> None:
        """Raises Conflict when the name is another performer's."""
        try:
            self._save(_performers, performer.id, performer, name=performer.name)
        except sa.exc.IntegrityError as error:
            raise Conflict(f"there is a performer called {performer.name!r} already", name=performer.name) from error

    def performer(self, id_or_name: str) -> StoredPerformer:
        found = self._where(
            _performers, StoredPerformer, (_performers.c.id == id_or_name) | (_performers.c.name == id_or_name)
        )
        if not found:
            raise ResourceNotFound(f"no performer {id_or_name!r}; `understudy performers list` shows all")
        return found[0]

    def performers(self, page_size: int, page_token: str) -> tuple[list[StoredPerformer], str]:
        return self._page(_performers, StoredPerformer, page_size, page_token)

    def all_performers(self) -> list[StoredPerformer]:
        return self._where(_performers, StoredPerformer, sa.true())

    def delete_performer(self, performer_id: str) -> None:
        self._delete(_performers, performer_id, "performer")

    # transfers

    def save_transfer(self, transfer: Transfer) -> None:
        self._save(
            _transfers, transfer.id, transfer, request_id=transfer.request_id or None, state=transfer.state.value
        )

    def transfer(self, transfer_id: str) -> Transfer:
        return self._get(_transfers, Transfer, transfer_id, "transfer")

    def transfers(self, page_size: int, page_token: str) -> tuple[list[Transfer], str]:
        return self._page(_transfers, Transfer, page_size, page_token)

    def active_transfers(self, request_id: str = "") -> list[Transfer]:
        active: sa.ColumnElement[bool] = _transfers.c.state.in_([state.value for state in State if not state.ended])
        if request_id:
            active &= _transfers.c.request_id == request_id
        return self._where(_transfers, Transfer, active)

    def all_transfers(self) -> list[Transfer]:
        return self._where(_transfers, Transfer, sa.true())

    def delete_transfer(self, transfer_id: str) -> None:
        self._delete(_transfers, transfer_id, "transfer")

    # what stages took on this installation

    def stage_rates(self) -> dict[str, float]:
        with self._begin() as connection:
            rows = connection.execute(sa.select(_rates.c.stage, _rates.c.seconds_per_unit))
            return {row.stage: row.seconds_per_unit for row in rows}

    def save_stage_rate(self, stage: str, seconds_per_unit: float) -> None:
        with self._begin() as connection:
            connection.execute(sa.delete(_rates).where(_rates.c.stage == stage))
            connection.execute(sa.insert(_rates).values(stage=stage, seconds_per_unit=seconds_per_unit))

    # the rest is the same for every table

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.begin() as connection:
            yield connection

    def _save(self, table: sa.Table, row_id: str, document: BaseModel, **columns: object) -> None:
        values = {"document": document.model_dump_json(), **columns}
        with self._begin() as connection:
            updated = connection.execute(sa.update(table).where(table.c.id == row_id).values(**values))
            if updated.rowcount == 0:
                connection.execute(sa.insert(table).values(id=row_id, **values))

    def _get(self, table: sa.Table, model: type[M], row_id: str, what: str) -> M:
        found = self._where(table, model, table.c.id == row_id)
        if not found:
            raise ResourceNotFound(f"no {what} {row_id!r}; `understudy {what}s list` shows all", id=row_id)
        return found[0]

    def _where(self, table: sa.Table, model: type[M], condition: sa.ColumnElement[bool]) -> list[M]:
        with self._begin() as connection:
            rows = connection.execute(sa.select(table.c.document).where(condition).order_by(table.c.number.desc()))
            return [model.model_validate_json(row.document) for row in rows]

    def _page(self, table: sa.Table, model: type[M], page_size: int, page_token: str) -> tuple[list[M], str]:
        if page_size < 0:
            raise InvalidOption("page_size must not be negative", page_size=page_size)
        size = min(page_size or _DEFAULT_PAGE, _MAX_PAGE)
        query = sa.select(table.c.number, table.c.document).order_by(table.c.number.desc()).limit(size + 1)
        if page_token:
            query = query.where(table.c.number < _read_token(page_token))
        with self._begin() as connection:
            rows: Sequence[Any] = connection.execute(query).all()
        token = _write_token(rows[size - 1].number) if len(rows) > size else ""
        return [model.model_validate_json(row.document) for row in rows[:size]], token

    def _delete(self, table: sa.Table, row_id: str, what: str) -> None:
        with self._begin() as connection:
            if connection.execute(sa.delete(table).where(table.c.id == row_id)).rowcount == 0:
                raise ResourceNotFound(f"no {what} {row_id!r}", id=row_id)


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _write_token(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def _read_token(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token.encode()).decode())
    except (binascii.Error, ValueError) as error:
        raise InvalidOption(f"not a page token: {token!r}; take next_page_token of the page before") from error
