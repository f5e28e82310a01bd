"""What keeps artifacts: transfers, performers and clips name them. Whatever none of them names may go."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.resources import Clip, Ref, Transfer
from gateway.results import StoredPerformer
from services.common.artifacts import ArtifactRef


@dataclass(frozen=True)
class Retention:
    """How long things are kept, in days; 0 is for ever. See GatewaySettings."""

    intermediates_days: float = 0.0
    results_days: float = 0.0
    performers_days: float = 0.0

    @classmethod
    def of(cls, settings: GatewaySettings) -> Retention:
        return cls(
            settings.retention_intermediates_days, settings.retention_results_days, settings.retention_performers_days
        )


def older_than(time: str, days: float) -> bool:
    """Whether an RFC 3339 time lies so many days back; never when `days` is 0."""
    return bool(days) and datetime.fromisoformat(time) < datetime.now(UTC) - timedelta(days=days)


def referenced(
    database: Database, retention: Retention | None = None, without: Collection[str] = ()
) -> set[ArtifactRef]:
    """Every artifact that something names; of what is old, after `retention`, only the results.

    without: ids of transfers and performers that do not count.
    """
    keep = retention or Retention()
    refs: set[ArtifactRef] = set()
    for transfer in database.all_transfers():
        if transfer.id not in without:
            refs |= artifact_refs(_of_transfer(transfer, keep))
    for performer in database.all_performers():
        if performer.id not in without:
            refs |= artifact_refs(_of_performer(performer, keep))
    for clip in database.all_clips():
        refs |= artifact_refs(_of_clip(clip, keep))
    return refs


def artifact_refs(refs: Iterable[Ref]) -> set[ArtifactRef]:
    return {ArtifactRef(ref.kind, ref.key) for ref in refs}


def _of_transfer(transfer: Transfer, keep: Retention) -> list[Ref]:
    if transfer.state.ended and older_than(transfer.update_time, keep.intermediates_days):
        return [output.artifact for output in transfer.outputs]
    return [*transfer.artifacts, *(output.artifact for output in transfer.outputs)]


def _of_performer(performer: StoredPerformer, keep: Retention) -> list[Ref]:
    study = performer.study
    # To dance with it; of the frames some are seen in the preview of every dance that is fitted to it.
    needed = [performer.artifact, study.clip, *study.shards, study.track, study.camera]
    if older_than(performer.create_time, keep.intermediates_days):
        return needed
    return [*needed, *performer.artifacts]


def _of_clip(clip: Clip, keep: Retention) -> list[Ref]:
    return [] if older_than(clip.create_time, keep.intermediates_days) else clip.artifacts
