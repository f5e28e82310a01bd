"""The resources that users see: clips, performers, transfers. The same shape in gRPC, HTTP/JSON and the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.common.errors import InvalidInput
from services.common.subject import parse_subject

Preset = Literal["", "draft", "preview", "standard", "hd"]
Family = Literal["", "composite", "pix2pixhd"]
Normalization = Literal["", "global", "limbs"]
Format = Literal["mp4", "gif", "webm", "png"]

MEDIA_TYPES = {
    "mp4": "video/mp4", "gif": "image/gif", "webm": "video/webm", "png": "application/zip", "side_by_side": "video/mp4",
}  # fmt: skip


def now() -> str:
    """The time, RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Ref(_Model):
    """An artifact reference."""

    kind: str
    key: str


class Rate(_Model):
    """Frames a second, exact."""

    numerator: int
    denominator: int


class Clip(_Model):
    """What the user calls a video."""

    id: str
    display_name: str = ""
    url: str = ""
    upload_sha256: str = ""
    size_bytes: int = 0
    create_time: str = Field(default_factory=now)
    artifacts: list[Ref] = []


class Performer(_Model):
    """A trained target."""

    id: str
    name: str
    artifact: Ref
    target_clip_id: str = ""
    preset: str = ""
    metrics: dict[str, float] = {}
    nearest_metrics: dict[str, float] = {}
    draft_metrics: dict[str, float] = {}
    create_time: str = Field(default_factory=now)


class ClipUse(_Model):
    """What part of a clip to use, seconds from its first frame, and whom in it to follow."""

    clip_id: str
    start_seconds: float = Field(default=0.0, ge=0)
    end_seconds: float = Field(default=0.0, ge=0)
    max_frames: int = Field(default=0, ge=0)
    subject: str = ""


class Box(_Model):
    """A rectangle, px of the frame."""

    x: int
    y: int
    width: int
    height: int


class Person(_Model):
    """Somebody who can be followed: `number` or `subject` goes into ClipUse.subject."""

    number: int
    subject: str = ""
    frame_count: int
    first_frame: int
    last_frame: int
    size_px: float
    place: str
    box: Box


class ClipPeople(_Model):
    """Everybody in a clip, the most present first. artifact: holds the contact sheet."""

    clip_id: str
    people: list[Person] = []
    frame_count: int
    width: int
    height: int
    frame_rate: Rate
    artifact: Ref


class MeasuredRow(_Model):
    """One performance of frames held out: "performer", "nearest", "draft" or "truth"."""

    name: str
    metrics: dict[str, float] = {}


class Evaluation(_Model):
    """How good a performer is on frames that it never saw. artifact: holds the page and what it shows."""

    performer_id: str
    frame_count: int
    rows: list[MeasuredRow] = []
    artifact: Ref


class TransferOptions(_Model):
    """How a transfer is made. Empty strings and zeros take the defaults."""

    preset: Preset = ""
    normalization: Normalization = ""
    formats: list[Format] = []
    side_by_side: bool = False
    iterations: int = Field(default=0, ge=0, le=1_000_000)
    seed: int = Field(default=0, ge=0)
    performer_name: str = Field(default="", max_length=100)
    background: str = Field(default="", max_length=200)
    camera: str = Field(default="", max_length=20)
    family: Family = ""
    training_seconds: float = Field(default=0.0, ge=0, le=30 * 86_400)
    quality_target: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_family(self) -> TransferOptions:
        if self.preset == "draft" and self.family:
            raise ValueError("a draft is not trained and has no family; leave one of the two out")
        if self.preset == "draft" and self.training_seconds:
            raise ValueError("a draft is not trained; leave the time for training out, or take another preset")
        if self.preset == "draft" and self.quality_target:
            raise ValueError("a draft is not trained; leave the quality to be reached out, or take another preset")
        if self.family == "pix2pixhd" and self.background not in {"", "plate"}:
            raise ValueError("pix2pixhd paints its own background; leave the background out, or take composite")
        return self

    @property
    def training(self) -> str:
        """What kind of training is asked for, in one word: the preset, with the family where it is not the usual.

        Where none is named the trainer chooses one; until it has, "preview" stands for it.
        """
        return self.training_with(self.preset or "preview")

    def training_with(self, preset: str) -> str:
        """The same for a preset that was chosen."""
        return preset if self.family in {"", "composite"} else f"{self.family}-{preset}"


class TransferRequest(_Model):
    """A new transfer: `target` to study and train on, or `performer`, the id or name of a trained one."""

    source: ClipUse
    target: ClipUse | None = None
    performer: str = ""
    options: TransferOptions = TransferOptions()
    request_id: str = Field(default="", max_length=200)

    @field_validator("source", "target")
    @classmethod
    def _spell_subject(cls, use: ClipUse | None) -> ClipUse | None:
        """The same wish in other words is the same transfer. Raises InvalidOption for what is no wish."""
        return use and use.model_copy(update={"subject": str(parse_subject(use.subject))})


class State(StrEnum):
    """Where a transfer stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        return self in {State.SUCCEEDED, State.FAILED, State.CANCELLED}


class StageState(StrEnum):
    """Where one stage of a transfer stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"


class StageProgress(_Model):
    """One stage of a transfer. role: "source", "target" or "result"."""

    stage: str
    role: str
    state: StageState = StageState.PENDING
    done: int = 0
    total: int = 0
    unit: str = "frames"
    elapsed_seconds: float = 0.0


class Failure(_Model):
    """Why something failed and what to do."""

    reason: str
    message: str
    metadata: dict[str, str] = {}


class Output(_Model):
    """One file of a transfer's result."""

    name: str
    artifact: Ref
    object_name: str
    width: int
    height: int
    frame_count: int
    frame_rate: Rate
    has_audio: bool
    size_bytes: int
    media_type: str


class Transfer(_Model):
    """The user's job."""

    id: str
    request_id: str = ""
    source: ClipUse
    target: ClipUse | None = None
    performer_id: str = ""
    options: TransferOptions = TransferOptions()
    state: State = State.QUEUED
    stages: list[StageProgress] = []
    stage: str = ""
    elapsed_seconds: float = 0.0
    remaining_seconds: float = -1.0
    failure: Failure | None = None
    outputs: list[Output] = []
    warnings: list[str] = []
    metrics: dict[str, float] = {}
    nearest_metrics: dict[str, float] = {}
    draft_metrics: dict[str, float] = {}
    artifacts: list[Ref] = []
    summary: str = ""
    create_time: str = Field(default_factory=now)
    update_time: str = Field(default_factory=now)


def invalid_input(errors: Iterable[Mapping[str, Any]], outer: int = 0) -> InvalidInput:
    """What pydantic found wrong, as an answer: each place and what is wrong there. outer: parts of places left out."""
    said = []
    for each in errors:
        place, message = ".".join(map(str, each["loc"][outer:])), each["msg"].removeprefix("Value error, ")
        said.append(f"{place}: {message}" if place else message)
    return InvalidInput("; ".join(said))
