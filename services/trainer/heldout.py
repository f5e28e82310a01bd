"""The frames that a performer never saw, laid out for judging: the poses to perform, the truth, what costs no training.

    track.safetensors    the target's own poses in the registered camera: rendered as any driven track
    truth.tar            frames as filmed, in the registered camera
    mattes.tar           where the person is in them
    nearest.tar          over the plate, the training frame that is nearest by pose
    draft.tar            over the plate, what the `draft` preset makes of the same training frames

All pictures have the plate's size and are numbered from 0.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import Artifact, ArtifactRef, ArtifactWriter, Facts, Recipe
from services.common.camera import compose, resize, warp
from services.common.errors import ClipTooShort
from services.common.frames import encode_frame, encode_matte, write_frames
from services.common.nn.layer import lay_over
from services.common.shards import MATTES_NAME, frame_name, matte_name, write_encoded
from services.common.stage import Job
from services.trainer.data import Picture, Split, StudyFrame, split_clip
from services.trainer.draft import DraftConfig, draft_windows, read_references
from services.trainer.evaluation import nearest_pose
from services.trainer.study import Study, StudyRefs

VERSION = 5
TRUTH, NEAREST, DRAFT, PERFORMER = "truth", "nearest", "draft", "performer"
MOST_FRAMES: Final = 60
"""Consecutive frames judged at most: two seconds and more tell as much as ten, in a fifth of the time."""
_LEAST_VALID = 24

Floats = NDArray[np.float32]


def object_of(row: str) -> str:
    """Name of the object that holds a row's pictures."""
    return f"{row}.tar"


def heldout_recipe(performer: ArtifactRef, refs: StudyRefs) -> Recipe:
    """Everything that decides the layout."""
    return Recipe("heldout", "training.hold_out", VERSION, {
        "performer": performer, "clip": refs.clip, "track": refs.track, "camera": refs.camera,
        "matte_shards": list(refs.matte_shards), "plate": refs.plate,
    })  # fmt: skip


def hold_out(performer: Artifact, study: Study, frame_rate: dict[str, int], job: Job, writer: ArtifactWriter) -> Facts:
    """Lays the frames out. Raises ClipTooShort when none was held out, and whatever stops `job`."""
    config = performer.read_json("config.json")
    whole = split_clip(
        study.track, study.camera, int(config["resolution"]), len(study.track), 1, least_judged=_LEAST_VALID
    )
    split = replace(whole, heldout=whole.heldout[:MOST_FRAMES])
    if not len(split.heldout):
        raise ClipTooShort(
            f"nothing to judge by: with {len(split.training)} frames that show the person none was held out; "
            f"it takes {_LEAST_VALID}",
            frames=len(split.training),
        )
    count = len(split.heldout)
    job.progress(0, count, "frames")
    rows = [TRUTH, NEAREST]
    _write_truth(study, split, writer, job)
    windows = {NEAREST: (_nearest_windows(study, split), 1)}
    if config["family"] != DRAFT:
        rows.append(DRAFT)
        windows[DRAFT] = _draft_windows(study, split, job)
    for row, (window, factor) in windows.items():
        _write_row(row, window, factor, study, split, writer, job)
    track = replace(split.track, keypoints=split.track.keypoints[split.heldout], valid=split.track.valid[split.heldout])
    writer.put_arrays("track.safetensors", track.to_arrays())
    height, width = study.plate.shape[:2]
    return {
        "rows": rows, "first_frame": 0, "frame_count": count, "width": width, "height": height,
        "clip_frames": split.heldout.tolist(), "frame_rate": frame_rate,
    }  # fmt: skip


def _write_truth(study: Study, split: Split, writer: ArtifactWriter, job: Job) -> None:
    """Frames and mattes in the registered camera, as far as they can be read; kept compressed, not as pictures."""
    height, width = study.plate.shape[:2]
    numbers = {int(frame): number for number, frame in enumerate(split.heldout)}
    pictures: list[tuple[str, bytes]] = []
    mattes: list[tuple[str, bytes]] = []
    for frame, picture, matte in study.some(numbers):
        job.check()
        number, matrix = numbers[frame], study.camera.matrices[frame]
        pictures.append((frame_name(number), encode_frame(warp(picture, matrix, (width, height)))))
        mattes.append((matte_name(number), encode_matte(warp(matte, matrix, (width, height), border="zero"))))
        job.progress(len(pictures), len(numbers), "frames")
    for name, members in ((object_of(TRUTH), pictures), (MATTES_NAME, mattes)):
        file = io.BytesIO()
        write_encoded(file, members)
        writer.put_bytes(name, file.getvalue())


def _write_row(
    row: str,
    window: Callable[[int], Floats],
    factor: int,
    study: Study,
    split: Split,
    writer: ArtifactWriter,
    job: Job,
) -> None:
    side = split.window.width
    enlarge = resize((side, side), (factor * side, factor * side))

    def pictures() -> Iterator[tuple[int, Picture]]:
        for number, frame in enumerate(split.heldout.tolist()):
            job.check()
            yield number, lay_over(study.plate, window(frame), compose(enlarge, split.window.matrices[frame]))

    file = io.BytesIO()
    write_frames(file, pictures())
    writer.put_bytes(object_of(row), file.getvalue())


def _nearest_windows(study: Study, split: Split) -> Callable[[int], Floats]:
    keypoints = split.window.keypoints(split.track)
    size = (split.window.width, split.window.height)

    def window(frame: int) -> Floats:
        nearest = int(split.training[nearest_pose(keypoints[split.training], keypoints[frame])])
        found = next(iter(study.frames(nearest, nearest + 1)), None)
        if found is None:
            return np.zeros((*size[::-1], 4), dtype=np.float32)
        _, picture, matte = found
        matrix = compose(split.window.matrices[nearest], study.camera.matrices[nearest])
        layered = np.dstack([warp(picture, matrix, size), warp(matte, matrix, size, border="zero")])
        return layered.astype(np.float32) / np.float32(255.0)

    return window


def _draft_windows(study: Study, split: Split, job: Job) -> tuple[Callable[[int], Floats], int]:
    """Windows of the clip's frames, and how many times as large as the split's window they are along each side."""

    def read(chosen: list[int]) -> Iterator[StudyFrame]:
        for frame in study.some(chosen):
            job.check()
            yield frame

    references = read_references(split, study.camera, DraftConfig().references, read)
    return draft_windows(references, split), references.side // split.window.width
