"""What the steps of a transfer hand to each other: references and counts, JSON through and through."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection

from pydantic import BaseModel, Field

from gateway.resources import MeasuredRow, Output, Performer, Ref, Transfer
from services.common.errors import Conflict


class Study(BaseModel):
    """A clip whose subject is followed and whose camera is known."""

    clip: Ref
    shards: list[Ref]
    first_frames: list[int]
    pose_shards: list[Ref]
    track: Ref
    camera: Ref
    frame_count: int
    valid_frame_count: int
    upload_sha256: str
    warnings: list[str]
    backdrop: Ref | None = None
    """Clip or plate that a source brings for what is behind the performer."""
    backdrop_refs: list[Ref] = []

    def refs(self) -> list[Ref]:
        own = [self.clip, *self.shards, *self.pose_shards, self.track, self.camera]
        return [*own, *self.backdrop_refs]


class Trained(BaseModel):
    """A performer fresh from the trainer, or found."""

    performer: Ref
    study: Study
    refs: list[Ref]
    preset: str
    metrics: dict[str, float]
    nearest_metrics: dict[str, float]
    draft_metrics: dict[str, float] = {}
    warnings: list[str]

    def judged(self, by: Judged) -> None:
        """Takes over what was measured on the rendered pictures, in the place of what the trainer measured."""
        self.metrics = {**self.metrics, **by.metrics_of("performer")}
        self.nearest_metrics = {**self.nearest_metrics, **by.metrics_of("nearest")}
        self.draft_metrics = {**self.draft_metrics, **by.metrics_of("draft")}
        self.refs = [*self.refs, *(ref for ref in by.refs if ref not in self.refs)]


class Judged(BaseModel):
    """A performer's evaluation: measures by row ("performer", "nearest", "draft", "truth")."""

    artifact: Ref
    frame_count: int
    rows: list[MeasuredRow]
    refs: list[Ref]

    def metrics_of(self, name: str) -> dict[str, float]:
        return next((row.metrics for row in self.rows if row.name == name), {})


class Driven(BaseModel):
    """The dance in the target's body."""

    track: Ref
    frame_count: int
    valid_frame_count: int
    warnings: list[str]


class Rendered(BaseModel):
    """All frames of the result."""

    shards: list[Ref]


class Encoded(BaseModel):
    """The files of the result."""

    outputs: list[Output]
    dropped_frames: int


class StoredPerformer(Performer):
    """With what rendering and deletion need to know, which users do not."""

    study: Study
    artifacts: list[Ref] = Field(default_factory=list)

    def public(self) -> Performer:
        return Performer.model_validate(self.model_dump(include=set(Performer.model_fields)))

    def trained(self) -> Trained:
        """As the trainer gave it, without its warnings: those were for the transfer that trained it."""
        return Trained(
            performer=self.artifact,
            study=self.study,
            refs=self.artifacts,
            preset=self.preset,
            metrics=self.metrics,
            nearest_metrics=self.nearest_metrics,
            draft_metrics=self.draft_metrics,
            warnings=[],
        )


def new_performer(transfer: Transfer, target_name: str, trained: Trained, taken: Collection[str]) -> StoredPerformer:
    """A resource for what `transfer` trained, under the name that it asks for or one made of its target's.

    Raises Conflict when the name that it asks for is among `taken`.
    """
    assert transfer.target is not None
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", target_name.rpartition("/")[2].rpartition(".")[0] or target_name)
    training = transfer.options.training_with(trained.preset)
    wanted = transfer.options.performer_name or f"{stem.strip('-') or 'performer'}-{training}"
    if transfer.options.performer_name and wanted in taken:
        raise Conflict(f"there is a performer called {wanted!r} already; choose another --name", name=wanted)
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return StoredPerformer(
        id=uuid.uuid4().hex,
        name=wanted if wanted not in taken else next(each for each in numbered if each not in taken),
        artifact=trained.performer,
        target_clip_id=transfer.target.clip_id,
        preset=trained.preset,
        metrics=trained.metrics,
        nearest_metrics=trained.nearest_metrics,
        draft_metrics=trained.draft_metrics,
        study=trained.study,
        artifacts=trained.refs,
    )
