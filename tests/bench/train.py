"""How good and how fast training is: families and losses side by side, on one target's held-out frames.

    python -m tests.bench.train [--clip FILE] [--frames N] [--minutes M] [--rows NAME,...] [--seeds N]
                                [--json FILE] [--picture FILE]

Every row trains for the same time: a few iterations are timed, and as many as fit are then run, so that each has its
whole schedule. A row is a family, or the `composite` with one thing changed. The picture has the truth above the rows'
results.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.common.nn.processors import available_cpus
from services.common.puppet import References
from services.common.shards import encode_frame
from services.common.synthetic import write_synthetic_pair
from services.renderer.families import CompositeWindows, ContinuingWindows, Windows
from services.trainer.data import Picture, Split, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.draft import DraftConfig, read_references
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.export import export_onnx
from services.trainer.families import begin_training, paints_everything
from services.trainer.training import Hooks, Training, train
from services.trainer.worker import judged
from tests.bench.plain import PlainScript, StudiedClip
from tests.bench.report import machine
from tests.bench.stages import Work
from tests.bench.variants import variant, variants

_REPOSITORY = Path(__file__).resolve().parents[2]
_WARM_ITERATIONS, _TIMED_POINTS = 3, 20
_RENDERED_FRAMES = 24


@dataclass(frozen=True)
class Row:
    """What one training gave.

    images: generated an iteration. images_per_second: trained. frames_per_second: of windows as the renderer makes
    them. metrics: of the performer ("generated"), and in its window of the nearest training frame and of a draft.
    """

    name: str
    seed: int
    iterations: int
    images: int
    seconds: float
    images_per_second: float
    frames_per_second: float
    parameters: int
    metrics: dict[str, Metrics]


def train_row(name: str, seed: int, seconds: float, study: StudiedClip, folder: Path) -> tuple[Row, Picture]:
    """Trains a variant for about `seconds`; returns its row and its sheet, truth above result."""
    device = choose_device()
    config = variant(name, 1, seed)
    still = paints_everything(config)
    split = split_clip(study.track, study.camera, config.resolution, config.most_frames, still=still)
    frames = study.frames(split.training)
    data = load_training_set(split, study.camera, study.plate, frames, _nothing).to(device.torch)
    iterations = _fitting(begin_training(variant(name, 1000, seed), data, device), seconds)
    config = variant(name, iterations, seed)
    training = begin_training(config, data, device)
    began = time.perf_counter()
    train(training, Hooks(_nothing, _nothing, _nothing, _nothing))
    took = time.perf_counter() - began
    references = read_references(split, study.camera, DraftConfig.references, study.some)
    performers, heldout = judged(training, split, references), study.frames(split.heldout)
    found = evaluate(performers, split, study.camera, study.plate, heldout, _nothing)
    images = 2 * config.batch if still else config.batch  # its samples are pairs of frames
    row = Row(
        name, seed, iterations, images, took, iterations * images / took,
        _rendered_per_second(training, split, references, folder),
        sum(parameter.numel() for parameter in training.performer.parameters()), found.metrics,
    )  # fmt: skip
    return row, found.sheet


def _nothing(*_: object) -> None:
    pass


def _fitting(training: Training, seconds: float) -> int:
    """Iterations that take about `seconds`; timed all over the schedule, whose parts differ in cost."""
    total = training.config.iterations
    for _ in range(_WARM_ITERATIONS):
        training.iterate()
    took = 0.0
    for point in range(_TIMED_POINTS):
        training.step = round((point + 0.5) / _TIMED_POINTS * total)
        began = time.perf_counter()
        training.iterate()
        took += time.perf_counter() - began
    return max(2, round(seconds / (took / _TIMED_POINTS)))


def _rendered_per_second(training: Training, split: Split, references: References, folder: Path) -> float:
    """Windows a second as the renderer makes them."""
    path, window, side = folder / "generator.onnx", split.window, training.config.resolution
    path.write_bytes(export_onnx(training.performer, side))
    windows: Windows
    if paints_everything(training.config):
        windows = ContinuingWindows(path, window, split.track, available_cpus())
    else:
        windows = CompositeWindows(path, references, window, split.track, available_cpus(), side)
    first = int(split.heldout[0])
    windows(np.arange(first, first + 1))  # what the first call sets up
    wanted = split.heldout[: _RENDERED_FRAMES + 1][1:]
    began = time.perf_counter()
    for start in range(0, len(wanted), windows.batch):
        windows(wanted[start : start + windows.batch])
    return len(wanted) / (time.perf_counter() - began)


_COLUMNS = {
    "person_ssim": "person-SSIM", "person_psnr_db": "person-PSNR", "sharpness": "sharpness", "flicker": "flicker",
}  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    head = ["row", "seed", "iterations x images", *_COLUMNS.values(), "trained images/s", "rendered frames/s"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    names = ("nearest", "draft") if rows else ()
    lines += [" | ".join([name, "", "", *_measures(rows[0].metrics[name]), "", ""]) for name in names]
    for row in rows:
        rates = [f"{row.images_per_second:.1f}", f"{row.frames_per_second:.1f}"]
        measures = _measures(row.metrics["generated"])
        lines.append(" | ".join([row.name, str(row.seed), f"{row.iterations} x {row.images}", *measures, *rates]))
    return "\n".join(lines)


def _measures(metrics: Metrics) -> list[str]:
    return [f"{metrics.get(key, float('nan')):.3f}" for key in _COLUMNS]


def _study(clip: Path, frames: int) -> StudiedClip:
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        return PlainScript(Work(clip, frames, 0), Path(folder)).study()


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.train", description="Quality and speed of training.")
    parser.add_argument("--clip", type=Path, help="a video with one person; default: a synthetic dancer")
    parser.add_argument("--frames", type=int, default=0, help="of the clip, from its start; 0 is all (default)")
    parser.add_argument("--minutes", type=float, default=2.5, help="of training for each row (default 2.5)")
    parser.add_argument("--rows", default="composite,pix2pixhd", help=f"of {', '.join(variants())}, or all")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each row (default 1)")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--picture", type=Path, help="where a JPEG goes: each row's truth above its result")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Prints the table."""
    arguments = _arguments(given)
    names = list(variants()) if arguments.rows == "all" else arguments.rows.split(",")
    for name in names:
        variant(name, 1, 0)  # a name that there is not is refused before hours of work
    clip = arguments.clip
    if clip is None:
        folder, frames = _REPOSITORY / ".cache" / "bench", arguments.frames or 200
        clip = write_synthetic_pair(folder, source_frames=8, target_frames=frames).target
    study = _study(clip, arguments.frames)
    rows, sheets = list[Row](), list[Picture]()
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder_name:
        for seed in range(arguments.seeds):
            for name in names:
                row, sheet = train_row(name, seed, 60.0 * arguments.minutes, study, Path(folder_name))
                rows.append(row)
                sheets.append(sheet)
                sys.stderr.write(f"{name}, seed {seed}: {row.iterations} iterations in {row.seconds:.0f} s\n")
    about = machine()
    sys.stdout.write(
        f"{clip.name}: {arguments.minutes:g} minutes a row on {about['processor']}, {about['cores']} cores "
        f"(load after: {about['load_1_minute']})\n\n{table(rows)}\n"
    )
    if arguments.json:
        document: dict[str, Any] = {"clip": clip.name, "machine": about, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(document, indent=1))
    if arguments.picture:
        widest = max(sheet.shape[1] for sheet in sheets)
        padded = [np.pad(sheet, ((0, 0), (0, widest - sheet.shape[1]), (0, 0))) for sheet in sheets]
        arguments.picture.write_bytes(encode_frame(np.concatenate(padded)))


if __name__ == "__main__":
    main()
