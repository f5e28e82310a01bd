"""What the steps of a transfer hand to each other: references and counts, JSON through and through."""

from __future__ import annotations

from pydantic import BaseModel, Field

from gateway.resources import Output, Performer, Ref


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

    def refs(self) -> list[Ref]:
        return [self.clip, *self.shards, *self.pose_shards, self.track, self.camera]


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
