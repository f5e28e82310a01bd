"""The gateway's tables, declared once. `sql.create_tables` makes those that are missing."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from gateway.resources import State

metadata: Final = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), unique=True, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        *columns,
    )


clips = _table("understudy_clips", sa.Column("upload_sha256", sa.String(64), index=True))
performers = _table("understudy_performers", sa.Column("name", sa.String(100), unique=True))
transfers = _table(
    "understudy_transfers",
    sa.Column("request_id", sa.String(200), index=True),
    sa.Column("state", sa.String(16), index=True),
)
rates = sa.Table(
    "understudy_stage_rates",
    metadata,
    sa.Column("stage", sa.String(64), primary_key=True),
    sa.Column("seconds_per_unit", sa.Float, nullable=False),
)


_ACTIVE = [state.value for state in State if not state.ended]
is_active = transfers.c.state.in_(_ACTIVE)
# Of racing requests with one id, whichever gateway they reach, one begins a transfer.
one_active = sa.Index(
    "understudy_one_active_transfer_a_request",
    transfers.c.request_id,
    unique=True,
    sqlite_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
    postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
)

keys = _table("understudy_keys")
key_transfers = sa.Table(
    "understudy_key_transfers",
    metadata,
    sa.Column("transfer_id", sa.String(64), primary_key=True),
    sa.Column("key_id", sa.String(64), nullable=False, index=True),
)
key_uploads = sa.Table(
    "understudy_key_uploads",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)
