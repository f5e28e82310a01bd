"""The `draft` family: no training. The performer is a choice of the target's own frames, cut out by their mattes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.common.artifacts import ArtifactWriter, Facts
from services.common.camera import compose, warp
from services.common.errors import ClipTooShort
from services.common.puppet import Puppet, References, spread_frames
from services.common.stage import Job
from services.common.tracks import CameraPath
from services.trainer.augment import whole_batch
from services.trainer.data import Split, StudyFrame, TrainingSet, split_clip
from services.trainer.evaluation import Window, evaluate
from services.trainer.performer import GENERATED, performer_facts, write_performer
from services.trainer.study import Study

MINIMUM_FRAMES = 1
# Below so many valid frames none is held out: a draft of a photograph is not judged, but it is made.
_LEAST_JUDGED = 24
REFERENCES_NAME = "references.safetensors"


@dataclass(frozen=True)
class DraftConfig:
    """What decides a draft; part of the performer's key."""

    preset: str = "draft"
    family: str = "draft"
    resolution: int = 256
    """Side of the window, px."""
    references: int = 72
    """Frames kept at most, those whose poses differ most."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def make_draft(config: DraftConfig, study: Study, job: Job, writer: ArtifactWriter) -> Facts:
    """Chooses the frames, measures the draft on those held out, stores it.

    Returns the facts of the performer (the Performer message). Raises ClipTooShort when no frame shows the person,
    and whatever stops `job`.
    """
    split = split_clip(
        study.track, study.camera, config.resolution, len(study.track), MINIMUM_FRAMES, least_judged=_LEAST_JUDGED
    )
    chosen = set(choose_frames(split, config.references).tolist())
    read = 0

    def seen() -> None:
        nonlocal read
        job.check()
        read += 1
        job.progress(min(read, len(chosen)), len(chosen), "iterations", "cutting out frames")

    first, last = min(chosen), max(chosen) + 1
    references = read_references(split, study.camera, chosen, study.frames(first, last), seen)
    evaluation = evaluate(
        {GENERATED: draft_windows(references, split)}, split, study.camera, study.plate,
        study.frames(*split.heldout_range), job.check,
    )  # fmt: skip
    writer.put_arrays(REFERENCES_NAME, references.to_arrays())
    shared = {"preset": config.preset, "family": config.family, "resolution": config.resolution}
    write_performer(writer, study, split, evaluation, {**shared, "multiple": 1})
    counts = {"iterations": 0, "training_frames": len(references.keypoints), "parameter_count": 0}
    return performer_facts(study, split, evaluation, {**shared, **counts})


def choose_frames(split: Split, count: int) -> NDArray[np.int64]:
    """The frames of the training part to keep as references: int64 (n,), ascending."""
    return split.training[spread_frames(split.window.keypoints(split.track)[split.training], count)]


def read_references(
    split: Split, camera: CameraPath, chosen: set[int], frames: Iterable[StudyFrame], seen: Callable[[], None]
) -> References:
    """Cuts the chosen frames out through the window, each resampled once.

    frames: at least those chosen, in ascending order. seen: called after each of them; may raise to stop. Raises
    ClipTooShort when none of them can be read.
    """
    window, size = split.window, (split.window.width, split.window.height)
    pictures, found = [], []
    for index, picture, matte in frames:
        if index in chosen:
            matrix = compose(window.matrices[index], camera.matrices[index])
            pictures.append(np.dstack([warp(picture, matrix, size), warp(matte, matrix, size, border="zero")]))
            found.append(index)
            seen()
    if not found:
        raise ClipTooShort(f"none of the {len(chosen)} frames to draft from can be read", frames=len(chosen))
    return References(np.stack(pictures), window.keypoints(split.track)[found])


def references_of(data: TrainingSet, count: int) -> References:
    """The same choice from a training set, whose frames are seen through their windows already."""
    rows = torch.from_numpy(spread_frames(data.keypoints.cpu().numpy(), count)).to(data.frames.device)
    batch = whole_batch(data, rows)
    pictures = torch.cat([batch.frame, batch.matte], 1).permute(0, 2, 3, 1).mul(255.0).round().to(torch.uint8)
    return References(pictures.cpu().numpy(), batch.keypoints.cpu().numpy())


def draft_windows(references: References, split: Split) -> Window:
    """What the references make of the clip's held-out poses, by frame of the clip."""
    poses = split.window.keypoints(split.track)[split.heldout]
    if not len(poses):
        return lambda _frame: np.zeros((split.window.height, split.window.width, 4), np.float32)
    puppet = Puppet(references, poses, split.window.width, split.window.height)
    rows = {int(frame): row for row, frame in enumerate(split.heldout)}
    return lambda frame: puppet(rows[frame])
