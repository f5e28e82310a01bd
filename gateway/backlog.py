"""What waits and what answers, asked every few seconds for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from gateway import sql
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.metrics import WORKFLOW_STATES, GatewayMetrics
from gateway.resources import State
from services.common.errors import UnderstudyError

_EVERY_SECONDS = 5.0


class Backlog:
    """Keeps the gauges of transfers, workflows and dependencies true. `ready`: what answers, by name."""

    def __init__(
        self,
        settings: GatewaySettings,
        database: Database,
        metrics: GatewayMetrics,
        ready: Callable[[], Awaitable[dict[str, bool]]],
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._ready = ready
        self._workflows = sql.open_engine(settings.workflow_url) if settings.run_transfers else None

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            if self._workflows is not None:
                self._workflows.dispose()

    async def look(self) -> None:
        for part, answers in (await self._ready()).items():
            self._metrics.up.labels(part).set(int(answers))
        try:
            transfers = await asyncio.to_thread(self._database.count_transfers)
            workflows = await asyncio.to_thread(self._count_workflows)
        except UnderstudyError:
            return  # the database's gauge says so; the others keep what was last known
        for state in State:
            if not state.ended:
                self._metrics.transfers.labels(state.value.lower()).set(transfers.get(state.value, 0))
        for name in WORKFLOW_STATES:
            self._metrics.workflows.labels(name.lower()).set(workflows.get(name, 0))

    def _count_workflows(self) -> dict[str, int]:
        if self._workflows is None:
            return {}
        schema = "dbos" if self._workflows.dialect.name == "postgresql" else None
        table = sa.table("workflow_status", sa.column("status"), schema=schema)
        query = sa.select(table.c.status, sa.func.count().label("number")).where(table.c.status.in_(WORKFLOW_STATES))
        rows = sql.run(self._workflows, lambda connection: connection.execute(query.group_by(table.c.status)).all())
        return {row.status: row.number for row in rows}
