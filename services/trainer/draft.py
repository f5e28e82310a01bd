"""The `draft` family: no training. The performer is a choice of the target's own frames, cut out by their mattes.

The families that are trained have the same choice in their performers, for the fine detail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactWriter, Facts
from services.common.camera import compose, resize, warp
from services.common.errors import ClipTooShort
from services.common.nn.layer import decontaminated
from services.common.puppet import Puppet, References, enlarged, put_references, spread_frames
from services.common.stage import Job
from services.common.tracks import CameraPath
from services.trainer.data import Picture, Split, StudyFrame, split_clip
from services.trainer.evaluation import evaluate
from services.trainer.performer import GENERATED, find_shadow, performer_facts, write_performer
from services.trainer.study import Study

MINIMUM_FRAMES = 1
# Below so many valid frames none is held out: a draft of a photograph is not judged, but it is made.
_LEAST_JUDGED = 24
# References are cut out twice as large as the window where the film has so many pixels, up to this side.
_ROOM_FOR_DETAIL = 0.6
_LARGEST_SIDE_PX = 1024
_MOST_BYTES = 128 << 20
Drafts = Callable[[int], NDArray[np.float32]]


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

    def read(chosen: list[int]) -> Iterator[StudyFrame]:
        for done, frame in enumerate(study.some(chosen), 1):
            job.check()
            job.progress(done, len(chosen), "iterations", "cutting out frames")
            yield frame

    references = read_references(split, study.camera, config.references, read)
    drafted = draft_windows(references, split)
    evaluation = evaluate(
        {GENERATED: drafted},
        split, study.camera, study.plate, study.frames(*split.heldout_range), job.check,
    )  # fmt: skip
    put_references(writer, references)
    shared = {"preset": config.preset, "family": config.family, "resolution": config.resolution}
    write_performer(writer, study, split, evaluation, {**shared, "multiple": 1}, find_shadow(study, split))
    counts = {"iterations": 0, "training_frames": len(references.keypoints), "parameter_count": 0}
    return performer_facts(study, split, evaluation, {**shared, **counts})


def read_references(
    split: Split, camera: CameraPath, most: int, frames: Callable[[list[int]], Iterable[StudyFrame]]
) -> References:
    """Cuts frames out through the window, each resampled once, at up to twice its resolution where the film has it.

    What of the background is in their edges is taken out: where a limb is laid before the body, it would be seen on it
    as a rim of the film's light or dark.

    Args:
        split: which of the clip's frames may be taken, and the window.
        camera: the clip's camera path.
        most: frames at most; those whose poses differ most.
        frames: gives the frames asked for, as far as they can be read.

    Raises ClipTooShort when none of them can be read.
    """
    window, track = split.window, split.track
    factor = 2 if window.scale <= _ROOM_FOR_DETAIL and 2 * window.width <= _LARGEST_SIDE_PX else 1
    side = factor * window.width
    enlarge = resize((window.width, window.height), (side, side))
    keypoints = enlarged(window.keypoints(track), factor)
    chosen = split.training[spread_frames(keypoints[split.training], min(most, _MOST_BYTES // (4 * side * side)))]
    pictures, found = [], []
    for index, picture, matte in frames(chosen.tolist()):
        matrix = compose(enlarge, window.matrices[index], camera.matrices[index])
        colour, alpha = warp(picture, matrix, (side, side)), warp(matte, matrix, (side, side), border="zero")
        pictures.append(_cut_out(colour, alpha, factor))
        found.append(index)
    if not found:
        raise ClipTooShort(f"none of the {len(chosen)} frames to draft from can be read", frames=len(chosen))
    return References(np.stack(pictures), keypoints[found])


def _cut_out(colour: Picture, alpha: Picture, factor: int) -> Picture:
    """uint8 (R, R, 4) of (R, R, 3) and (R, R), its edges' colours those of the person beside them."""
    layer = np.dstack([colour, alpha])
    left, top, across, down = cv2.boundingRect((alpha > 0).astype(np.uint8))
    if across:
        person = layer[top : top + down, left : left + across]
        clean = decontaminated(person.astype(np.float32) * np.float32(1.0 / 255.0), factor)
        person[..., :3] = np.rint(clean[..., :3] * 255.0)
    return layer


def draft_windows(references: References, split: Split) -> Drafts:
    """What the references make of the clip's held-out poses, by frame of the clip: float32 (R, R, 4)."""
    factor = references.side // split.window.width
    poses = enlarged(split.window.keypoints(split.track)[split.heldout], factor)
    puppet = Puppet(references, poses, references.side, references.side) if len(poses) else None
    rows = {int(frame): row for row, frame in enumerate(split.heldout)}

    @lru_cache(1)  # measured beside a performer that takes its detail from it: one frame after the other
    def drafted(frame: int) -> NDArray[np.float32]:
        assert puppet is not None  # there is no frame to ask for
        return puppet(rows[frame])

    return drafted
