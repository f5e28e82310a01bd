"""Judges performers when somebody asks, and keeps what was measured with them."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

from gateway.board import TARGET, Board
from gateway.clients import StageClients
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.judge_stages import JudgeStages
from gateway.resources import Evaluation, StageProgress
from gateway.results import Judged, StoredPerformer
from gateway.watching import watched
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import ResourceNotFound


class Evaluations:
    """Asked again, it answers at once: the answer of every stage call is kept."""

    def __init__(
        self, settings: GatewaySettings, database: Database, artifacts: Artifacts, clients: StageClients
    ) -> None:
        self._settings, self._database, self._artifacts, self._clients = settings, database, artifacts, clients

    async def watch(self, id_or_name: str) -> AsyncGenerator[list[StageProgress] | Evaluation, None]:
        """How far it is, again and again, and at last the evaluation. Raises what the stages raise."""
        stored = await asyncio.to_thread(self._database.performer, id_or_name)
        board = Board.plan("preview", {}, with_training=True)
        stages = JudgeStages(self._settings, self._clients, board, f"evaluate-{uuid.uuid4().hex[:12]}")
        task = asyncio.create_task(stages.judge(stored.artifact, stored.study, stored.artifacts))

        def progress() -> list[StageProgress]:
            return [each for each in board.snapshot() if (each.role, each.stage) == (TARGET, "evaluation")]

        async with contextlib.aclosing(watched(task, progress)) as updates:
            async for update in updates:
                yield update
        judged = task.result()
        await asyncio.to_thread(self._keep, stored, judged)
        yield Evaluation(
            performer_id=stored.id, frame_count=judged.frame_count, rows=judged.rows, artifact=judged.artifact
        )

    async def find(self, id_or_name: str) -> Evaluation:
        """The end of `watch`."""
        async with contextlib.aclosing(self.watch(id_or_name)) as updates:
            async for update in updates:
                if isinstance(update, Evaluation):
                    return update
        raise AssertionError("watch ends with an evaluation or raises")

    async def file(self, id_or_name: str, name: str) -> Path:
        """A local, verified copy of one file of the evaluation."""
        found = await self.find(id_or_name)
        return await asyncio.to_thread(self._local, found, name)

    def _local(self, found: Evaluation, name: str) -> Path:
        artifact = self._artifacts.open(ArtifactRef(found.artifact.kind, found.artifact.key))
        if name not in artifact.names():
            raise ResourceNotFound(f"an evaluation has no file {name!r}, only {', '.join(artifact.names())}", name=name)
        return artifact.local_path(name)

    def _keep(self, stored: StoredPerformer, judged: Judged) -> None:
        """Writes the measures down, and what was made, so that it goes when the performer is deleted."""
        if all(ref in stored.artifacts for ref in judged.refs):
            return
        trained = stored.trained()
        trained.judged(judged)
        measures = trained.model_dump(include={"metrics", "nearest_metrics", "draft_metrics"})
        self._database.save_performer(stored.model_copy(update={**measures, "artifacts": trained.refs}))
