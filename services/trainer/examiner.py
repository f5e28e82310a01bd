"""The evaluation stage: from held-out frames and their performances to measures, a sheet, a video and a page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import Artifact, ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import InvalidOption
from services.common.frames import FrameReader
from services.common.shards import FRAMES_NAME, MATTES_NAME, ShardEntry
from services.common.stage import Job
from services.common.tracks import PoseTrack
from services.common.video.write import write_video
from services.trainer.colorvideovdp import ColorVideoVdp
from services.trainer.heldout import TRUTH, object_of
from services.trainer.judging import Keypoints, Metrics, Picture, Row, measure_row, measured, person_masks
from services.trainer.lpips import Lpips
from services.trainer.page import contact_sheet, page, side_by_side
from services.trainer.performer import jpeg

VERSION = 2
_TITLE = "Understudy evaluation"
_SYNTHETIC = "Synthetic pictures made by Understudy beside true ones: the performer never did this."


@dataclass(frozen=True)
class RowRequest:
    """One performance. shards: none takes the heldout artifact's own pictures of that name."""

    name: str
    shards: Sequence[ArtifactRef]
    poses: Sequence[ArtifactRef]


@dataclass(frozen=True)
class EvaluateRequest:
    """What is measured, the performer first."""

    heldout: ArtifactRef
    rows: Sequence[RowRequest]


class Examiner:
    """Measures performances. lpips: weights of the perceptual distance; None does without."""

    def __init__(self, artifacts: Artifacts, lpips: Path | None = None) -> None:
        self._artifacts = artifacts
        self._perceptual = Lpips(lpips) if lpips is not None else None

    def recipe(self, request: EvaluateRequest) -> Recipe:
        """Everything that decides the measures. Raises InvalidOption for rows that are no rows."""
        names = [row.name for row in request.rows]
        if not names or len(set(names)) != len(names) or not all(name.isidentifier() for name in names):
            raise InvalidOption(f"rows need names of their own, one at least: {', '.join(names)}")
        inputs: dict[str, ArtifactRef | Sequence[ArtifactRef]] = {"heldout": request.heldout}
        for row in request.rows:
            inputs[f"{row.name}_shards"], inputs[f"{row.name}_poses"] = list(row.shards), list(row.poses)
        model = " ".join([ColorVideoVdp.digest(), *([self._perceptual.digest] if self._perceptual is not None else [])])
        return Recipe("evaluation", "training.evaluate", VERSION, inputs, {"rows": names}, model)

    def evaluate(self, request: EvaluateRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Measures and shows. Returns the facts of the EvaluateResponse message."""
        heldout = self._artifacts.open(request.heldout)
        sources = {row.name: self._pictures(heldout, row) for row in request.rows}
        masks = person_masks({t: measured(matte) for t, matte in _reader(self._artifacts, heldout, MATTES_NAME)})
        small = {name: _small(reader, job) for name, reader in sources.items()}
        true = small[TRUTH] if TRUTH in small else _small(_reader(self._artifacts, heldout, object_of(TRUTH)), job)
        asked = PoseTrack.from_arrays(heldout.read_arrays("track.safetensors")).keypoints
        rate = heldout.facts["frame_rate"]
        visible = ColorVideoVdp(rate["numerator"] / rate["denominator"])
        table: dict[str, Metrics] = {}
        for row in request.rows:
            job.check()
            found = Row(small[row.name], self._people(row.poses))
            table[row.name] = measure_row(found, true, masks, asked, self._perceptual, visible)
        frames = int(heldout.facts["frame_count"])
        both = sorted(set(masks).intersection(*(pictures.keys() for pictures in small.values())))
        if both:
            writer.put_bytes("sheet.jpg", jpeg(contact_sheet(small, {t: masks[t] for t in both})))
            self._film(sources, both, Fraction(rate["numerator"], rate["denominator"]), job, writer)
        writer.put_json("evaluation.json", {"frame_count": frames, "rows": table})
        writer.put_bytes("index.html", page(_TITLE, table, frames).encode())
        return {"frame_count": frames, "rows": [{"name": name, "metrics": row} for name, row in table.items()]}

    def _pictures(self, heldout: Artifact, row: RowRequest) -> FrameReader:
        if not row.shards:
            return _reader(self._artifacts, heldout, object_of(row.name))
        opened = [self._artifacts.open(ref) for ref in row.shards]
        entries = [ShardEntry(s.ref, int(s.facts["first_frame"]), int(s.facts["frame_count"])) for s in opened]
        return FrameReader(self._artifacts, entries, object_name=FRAMES_NAME)

    def _people(self, poses: Sequence[ArtifactRef]) -> dict[int, Keypoints]:
        people: dict[int, Keypoints] = {}
        for ref in poses:
            arrays = self._artifacts.open(ref).read_arrays("poses.safetensors")
            offsets: NDArray[np.int64] = arrays["offsets"]
            for row, frame in enumerate(arrays["frame_index"].tolist()):
                people[frame] = arrays["keypoints"][offsets[row] : offsets[row + 1]]
        return people

    def _film(
        self,
        sources: Mapping[str, FrameReader],
        frames: Sequence[int],
        rate: Fraction,
        job: Job,
        writer: ArtifactWriter,
    ) -> None:
        def together() -> Iterator[Picture]:
            for frame in frames:
                job.check()
                yield side_by_side([reader.frame(frame) for reader in sources.values()], list(sources))

        with tempfile.TemporaryDirectory(prefix="understudy-evaluate-") as folder:
            path = Path(folder) / "comparison.mp4"
            write_video(together(), path, rate, title=_TITLE, synthetic=_SYNTHETIC)
            writer.put_file("comparison.mp4", path)


def _reader(artifacts: Artifacts, heldout: Artifact, name: str) -> FrameReader:
    entry = ShardEntry(heldout.ref, 0, int(heldout.facts["frame_count"]))
    return FrameReader(artifacts, [entry], object_name=name)


def _small(reader: FrameReader, job: Job) -> dict[int, Picture]:
    small = {}
    for frame, picture in reader:
        job.check()
        small[frame] = measured(picture)
    return small
