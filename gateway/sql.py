"""SQLite or PostgreSQL by URL: engines that notice a lost connection, and the database's errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.common.errors import InvalidOption, StorageFull, StoreUnavailable
from services.common.telemetry import logger

_log = logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

# A server that vanished without a word (a partition, a pulled plug) is given up after 15 s, not after TCP's two hours.
POSTGRES_ARGUMENTS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "understudy",
}
_FULL = ("disk is full", "No space left")
_WAIT_SECONDS = 1.0
_BUSY_SECONDS = 10
_SCHEMA_LOCK = 0x756E646572  # any number that no other program takes: two replicas make the tables one after the other


def checked_url(url: str) -> sa.URL:
    """`sqlite:///path` or `postgresql://user@host/name`, with the driver that we use. Raises InvalidOption."""
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError as error:
        raise InvalidOption("not a database URL; give sqlite:///path or postgresql://user@host/name") from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite":
        return parsed
    raise InvalidOption(f"not a usable database: {kind}; give sqlite:///path or postgresql://user@host/name", kind=kind)


def open_engine(url: str) -> sa.Engine:
    """An engine whose connections are tried before they are used. Nothing is connected yet."""
    checked = checked_url(url)
    if checked.get_backend_name() == "sqlite":
        engine = sa.create_engine(checked, pool_pre_ping=True)
        sa.event.listen(engine, "connect", _tune_sqlite)
        return engine
    arguments = POSTGRES_ARGUMENTS | {"options": "-c statement_timeout=30000 -c lock_timeout=10000"}
    return sa.create_engine(
        checked, pool_pre_ping=True, pool_size=8, max_overflow=8, pool_timeout=10, connect_args=arguments
    )


def upsert(engine: sa.Engine) -> Any:
    """`insert` of the engine's dialect, which has `on_conflict_do_update`."""
    return postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert


def create_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Makes what is missing: tables, and indexes of tables that were made by an earlier version."""
    with translated(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        metadata.create_all(connection)
        for table in metadata.tables.values():
            for index in table.indexes:
                index.create(connection, checkfirst=True)


def run(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    """The answer of `work`, one transaction. `work` must bear repeating: it is made once again when the connection
    turns out to be lost, which happens to every idle one when the server restarts. Raises StoreUnavailable."""
    with translated():
        try:
            return _once(engine, work)
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return _once(engine, work)


async def patiently(seconds: float, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """The answer of a blocking call to the database, made in a thread; while the database is away it is made again,
    for at most `seconds`. For work that can wait: a user's request fails at once, and is told to try again."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await asyncio.to_thread(call, *arguments, **named)
        except StoreUnavailable as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            _log.warning("waiting for the database", error=error.message)
        await asyncio.sleep(_WAIT_SECONDS)


def _once(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """The driver's errors as ours: StorageFull, StoreUnavailable. IntegrityError passes: it means something."""
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable("the gateway's database is too busy: no connection became free") from error
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError) as error:
        if any(sign in str(error) for sign in _FULL):
            raise StorageFull("no room left for the gateway's database: free some space and try again") from error
        raise StoreUnavailable(f"the gateway's database does not answer: {_first_line(error.orig)}") from error


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or ["no word of it"])[0]


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    # Of processes that turn a new file to WAL at once, SQLite may refuse some without waiting, whatever the busy
    # timeout: two that read and both want to write would wait for each other (sqlite.org/c3ref/busy_handler.html).
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
    cursor.close()
