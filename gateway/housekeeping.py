"""Housekeeping: ends what has been kept long enough, and deletes what nothing names any more.

It never takes what a running transfer needs. A transfer's artifacts are written down within a second of the answer that
names them; and nothing is touched that is younger than the grace period, or than the oldest transfer at work. Should a
transfer all the same find something gone that it just met in the store, it makes it anew (`Conductor.mend`).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.references import Retention, older_than, referenced
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import DataCorrupted, NotFound, UnderstudyError
from services.common.store.base import ObjectInfo
from services.common.telemetry import logger

_log = logger(__name__)
T = TypeVar("T")


@dataclass
class Swept:
    """What was deleted, or would be: names by kind, and bytes."""

    transfers: list[str] = field(default_factory=list)
    performers: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    scratch: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def counts(self) -> dict[str, int]:
        return {name: value if isinstance(value, int) else len(value) for name, value in vars(self).items()}

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


class Housekeeping:
    """One sweep at a time. Several gateways may sweep at once: deleting twice does no harm. Synchronous."""

    def __init__(self, settings: GatewaySettings, database: Database, artifacts: Artifacts) -> None:
        self._retention = Retention.of(settings)
        self._grace_seconds = settings.gc_grace_seconds
        self._database = database
        self._artifacts = artifacts

    def sweep(self, *, dry_run: bool = False) -> Swept:
        """Deletes, or with `dry_run` only lists. Raises what store and database raise; what is done stays done."""
        swept = Swept()
        self._end_transfers(swept, dry_run=dry_run)
        self._end_performers(swept, dry_run=dry_run)
        youngest = self._youngest()
        self._sweep_artifacts(swept, youngest, dry_run=dry_run)
        self._sweep_scratch(swept, youngest, dry_run=dry_run)
        self._sweep_uploads(swept, youngest, dry_run=dry_run)
        return swept

    def _end_transfers(self, swept: Swept, *, dry_run: bool) -> None:
        for transfer in self._database.all_transfers():
            if transfer.state.ended and older_than(transfer.update_time, self._retention.results_days):
                swept.transfers.append(transfer.id)
                if not dry_run:
                    self._database.delete_transfer(transfer.id)

    def _end_performers(self, swept: Swept, *, dry_run: bool) -> None:
        """Performers that have not danced for long enough."""
        last_use: dict[str, str] = {}
        active = set()
        for transfer in self._database.all_transfers():
            last_use[transfer.performer_id] = max(last_use.get(transfer.performer_id, ""), transfer.update_time)
            if not transfer.state.ended:
                active.add(transfer.performer_id)
        for performer in self._database.all_performers():
            used = max(performer.create_time, last_use.get(performer.id, ""))
            if performer.id not in active and older_than(used, self._retention.performers_days):
                swept.performers.append(performer.id)
                if not dry_run:
                    self._database.delete_performer(performer.id)

    def _youngest(self) -> float:
        """What was modified after this moment (seconds since the epoch) is not touched."""
        begun = [datetime.fromisoformat(each.create_time).timestamp() for each in self._database.active_transfers()]
        return min([time.time() - self._grace_seconds, *(when - 1.0 for when in begun)])

    def _sweep_artifacts(self, swept: Swept, youngest: float, *, dry_run: bool) -> None:
        used = self._referenced(swept)
        candidates = {
            ref: objects
            for ref, objects in self._folders("artifacts/", lambda parts: ArtifactRef(parts[1], parts[2]))
            if ref not in used and all(each.modified_seconds < youngest for each in objects)
        }
        used = self._referenced(swept) if candidates else used  # what was named while we listed
        for ref, objects in candidates.items():
            if ref not in used:
                swept.artifacts.append(f"{ref.kind}/{ref.key}")
                swept.size_bytes += sum(each.size_bytes for each in objects)
                if not dry_run:
                    self._artifacts.delete(ref)

    def _referenced(self, swept: Swept) -> set[ArtifactRef]:
        """What something names that this sweep has not ended (a dry run ends nothing)."""
        return referenced(self._database, self._retention, without={*swept.transfers, *swept.performers})

    def _sweep_scratch(self, swept: Swept, youngest: float, *, dry_run: bool) -> None:
        """Checkpoints and samples of trainings that nobody goes on with; while a training may run, none."""
        if any(transfer.target is not None for transfer in self._database.active_transfers()):
            return
        for key, objects in self._folders("scratch/", lambda parts: parts[1]):
            if all(each.modified_seconds < youngest for each in objects):
                swept.scratch.append(key)
                swept.size_bytes += sum(each.size_bytes for each in objects)
                if not dry_run:
                    self._artifacts.scratch(key).clear()

    def _sweep_uploads(self, swept: Swept, youngest: float, *, dry_run: bool) -> None:
        """Videos that no clip is, and from which no clip that is kept was made."""
        used = {self._upload_of(ref) for ref in self._referenced(swept) if ref.kind == "clip"}
        for info in self._artifacts.store.list("uploads/"):
            sha256 = info.key.removeprefix("uploads/")
            if info.modified_seconds >= youngest or sha256 in used:
                continue
            if not self._database.clips_of_upload(sha256):
                swept.uploads.append(sha256)
                swept.size_bytes += info.size_bytes
                if not dry_run:
                    self._artifacts.store.delete(info.key)

    def _upload_of(self, ref: ArtifactRef) -> str:
        try:
            return str(self._artifacts.open(ref).recipe["options"].get("upload_sha256", ""))
        except (NotFound, DataCorrupted):
            return ""

    def _folders(self, prefix: str, name: Callable[[list[str]], T]) -> Iterator[tuple[T, list[ObjectInfo]]]:
        """Objects by the folder that they lie in."""
        found: dict[T, list[ObjectInfo]] = defaultdict(list)
        for info in self._artifacts.store.list(prefix):
            found[name(info.key.split("/"))].append(info)
        yield from found.items()


async def keep_house(settings: GatewaySettings, housekeeping: Housekeeping) -> None:
    """Sweeps again and again until it is cancelled."""
    while True:
        await asyncio.sleep(settings.gc_every_seconds)
        try:
            swept = await asyncio.to_thread(housekeeping.sweep)
            _log.info("swept", **swept.counts())
        except UnderstudyError as error:  # store or database are away: the next sweep finds the same
            _log.warning("could not sweep", reason=error.reason, error=error.message)
