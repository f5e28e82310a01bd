"""Looks who is in a clip, before anybody decides whom to follow."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator

from understudy.v1 import pose_pb2, types_pb2

from gateway.board import SOURCE, Board
from gateway.clients import StageClients
from gateway.clip_stages import ClipStages
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.messages import to_resource
from gateway.resources import Clip, ClipPeople, ClipUse, Ref, StageProgress
from gateway.watching import watched
from services.common import rpc
from services.common.artifacts import ArtifactRef, Artifacts

STAGES = ("download", "pose")
_SHEET_NAME = "sheet.jpg"


class PeopleFinder:
    """Finds and numbers the people of clips. What it computes is kept, so that it answers at once when asked again."""

    def __init__(
        self, settings: GatewaySettings, database: Database, artifacts: Artifacts, clients: StageClients
    ) -> None:
        self._settings, self._database, self._artifacts, self._clients = settings, database, artifacts, clients

    async def watch(self, use: ClipUse) -> AsyncGenerator[list[StageProgress] | ClipPeople, None]:
        """How far download and pose are, again and again, and at last everybody. Raises what the stages raise."""
        clip = await asyncio.to_thread(self._database.clip, use.clip_id)
        board = Board.plan("preview", {}, with_training=False)
        transfer_id = f"people-{uuid.uuid4().hex[:12]}"
        stages = ClipStages(self._settings, self._clients, board, transfer_id, stills=(SOURCE,))
        task = asyncio.create_task(stages.people(clip, use, SOURCE))

        def progress() -> list[StageProgress]:
            return [each for each in board.snapshot() if each.role == SOURCE and each.stage in STAGES]

        async with contextlib.aclosing(watched(task, progress)) as updates:
            async for update in updates:
                yield update
        ingested, pose_shards, answer = task.result()
        await asyncio.to_thread(self._keep, clip, ingested, pose_shards, answer)
        yield ClipPeople.model_validate({**rpc.to_facts(answer), "clip_id": clip.id})

    async def find(self, use: ClipUse) -> ClipPeople:
        """The end of `watch`."""
        async with contextlib.aclosing(self.watch(use)) as updates:
            async for update in updates:
                if isinstance(update, ClipPeople):
                    return update
        raise AssertionError("watch ends with people or raises")

    async def sheet(self, found: ClipPeople) -> bytes:
        """The contact sheet, JPEG; empty when there is nobody."""
        return await asyncio.to_thread(self._read_sheet, found) if found.people else b""

    def _read_sheet(self, found: ClipPeople) -> bytes:
        return self._artifacts.open(ArtifactRef(found.artifact.kind, found.artifact.key)).read_bytes(_SHEET_NAME)

    def _keep(
        self,
        clip: Clip,
        ingested: types_pb2.Clip,
        pose_shards: list[types_pb2.ArtifactRef],
        answer: pose_pb2.ListPeopleResponse,
    ) -> None:
        """Writes down what was made, so that it goes when the clip is deleted."""
        shards = [shard.artifact for shard in ingested.shards]
        made: list[Ref] = [to_resource(ref) for ref in (ingested.artifact, *shards, *pose_shards, answer.artifact)]
        clip.artifacts.extend(ref for ref in made if ref not in clip.artifacts)
        self._database.save_clip(clip)
