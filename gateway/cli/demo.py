"""`make demo`: a whole transfer between two synthetic dancers, measured against the truth.

The truth is the target's dancer really dancing the source's dance in the target's room, drawn with the same joints.
Nobody ever has it for real people; here it says how far the result is off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gateway.cli.display import TerminalDisplay, duration
from gateway.cli.home import Home
from gateway.cli.transfer import Job, Part, run_transfer
from gateway.resources import Ref, Transfer, TransferOptions
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.frames import read_shard
from services.common.metrics_image import grow_mask, psnr_db, ssim
from services.common.store import FileObjectStore
from services.common.synthetic import SyntheticPair, TransferError, compare_to_truth, write_synthetic_pair
from services.common.tracks import PoseTrack
from services.common.video import probe, read_frames

_MASK_GROWTH_PX = 14  # 7 px at a short side of 256, twice that at 512
_SHEET_COLUMNS = 6
_SHEET_HEIGHT_PX = 320

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Closeness:
    """How close pictures came to the truth. person_: inside the true matte, grown by 7 px at 256."""

    person_ssim: float
    person_psnr_db: float
    ssim: float
    psnr_db: float
    frames: int


def run_demo(folder: Path, home_path: Path | None) -> None:
    """Leaves out.mp4, out-side-by-side.mp4, contact-sheet.jpg and report.json in `folder`."""
    console = Console(highlight=False, soft_wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    console.print("drawing two dancers (kept for the next time)")
    pair = write_synthetic_pair(folder / "dancers")
    home = home_path or folder.absolute() / "home"
    options = TransferOptions(preset="preview", formats=["mp4"], side_by_side=True)
    job = Job(Part(str(pair.source)), Part(str(pair.target)), "", folder / "out.mp4", options)
    with TerminalDisplay(Console(stderr=True, highlight=False)) as display:
        transfer = run_transfer(job, home, display)
    track = _driven_track(home, transfer)
    indices = np.flatnonzero(track.valid)
    pictures = _frames(job.output)
    sources, truths = ([frames[index] for index in indices] for frames in (_frames(pair.source), _frames(pair.truth)))
    closeness = _closeness(pictures, truths, pair, indices)
    pose = compare_to_truth(track.keypoints, track.valid, pair.truth_json)
    sheet = folder / "contact-sheet.jpg"
    cv2.imwrite(str(sheet), cv2.cvtColor(_contact_sheet([sources, pictures, truths]), cv2.COLOR_RGB2BGR))
    _report(console, folder, transfer, closeness, pose)


def _driven_track(home: Path, transfer: Transfer) -> PoseTrack:
    opened = Home.open(home)
    artifacts = Artifacts(FileObjectStore(opened.store), opened.path / "cache")
    ref = _last(transfer.artifacts, "driven_track")
    return PoseTrack.from_arrays(artifacts.open(ref).read_arrays("track.safetensors"))


def _last(refs: list[Ref], kind: str) -> ArtifactRef:
    return next(ArtifactRef(ref.kind, ref.key) for ref in reversed(refs) if ref.kind == kind)


def _frames(path: Path) -> list[Picture]:
    return [frame for _, frame in read_frames(path, probe(path))]


def _closeness(
    pictures: list[Picture], truths: list[Picture], pair: SyntheticPair, indices: NDArray[np.int64]
) -> Closeness:
    mattes = dict(read_shard(pair.truth_mattes))
    rows = []
    for picture, truth, index in zip(pictures, truths, indices, strict=True):
        mask = grow_mask(mattes[int(index)], _MASK_GROWTH_PX)
        rows.append(
            (ssim(picture, truth, mask), psnr_db(picture, truth, mask), ssim(picture, truth), psnr_db(picture, truth))
        )
    means = [round(float(value), 4) for value in np.mean(rows, axis=0)]
    return Closeness(means[0], means[1], means[2], means[3], len(rows))


def _contact_sheet(rows: list[list[Picture]]) -> Picture:
    """Rows of source, result and truth at the same moments."""
    moments = np.linspace(0, len(rows[0]) - 1, _SHEET_COLUMNS).round().astype(int)
    width = max(round(row[0].shape[1] * _SHEET_HEIGHT_PX / row[0].shape[0]) for row in rows)
    return np.vstack([np.hstack([_cell(row[moment], width) for moment in moments]) for row in rows])


def _cell(picture: Picture, width: int) -> Picture:
    scaled_width = round(picture.shape[1] * _SHEET_HEIGHT_PX / picture.shape[0])
    scaled = cv2.resize(picture, (scaled_width, _SHEET_HEIGHT_PX), interpolation=cv2.INTER_AREA)
    left = (width - scaled_width) // 2
    border = ((0, 0), (left, width - scaled_width - left), (0, 0))
    return np.asarray(np.pad(scaled, border, constant_values=24), dtype=np.uint8)


def _report(console: Console, folder: Path, transfer: Transfer, closeness: Closeness, pose: TransferError) -> None:
    document = {
        "closeness": vars(closeness),
        "pose_error": {name: round(value, 4) for name, value in vars(pose).items()},
        "heldout": transfer.metrics,
        "heldout_nearest": transfer.nearest_metrics,
        "heldout_draft": transfer.draft_metrics,
        "stages": [stage.model_dump(mode="json") for stage in transfer.stages],
    }
    (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n")
    table = Table("how close to the truth", "", box=None)
    table.add_row("frames compared", f"{closeness.frames}")
    table.add_row("person SSIM / PSNR", f"{closeness.person_ssim:.3f} / {closeness.person_psnr_db:.1f} dB")
    table.add_row("whole frame SSIM / PSNR", f"{closeness.ssim:.3f} / {closeness.psnr_db:.1f} dB")
    table.add_row("pose, mean distance", f"{pose.mean:.3f} of the body's height ({pose.mean_placed:.3f} once placed)")
    table.add_row("joints within a tenth", f"{pose.within_tenth:.0%}")
    console.print(table)
    names = ("out.mp4", "out-side-by-side.mp4", "contact-sheet.jpg", "report.json")
    console.print(f"{duration(transfer.elapsed_seconds)}: " + ", ".join(str(folder / name) for name in names))
