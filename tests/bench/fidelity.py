"""How good performers are: families, times and losses side by side, on held-out frames of one clip or several.

    python -m tests.bench.fidelity [--clip FILE]... [--frames N] [--rows NAME[@MINUTES],...] [--minutes M] [--seeds N]
                                   [--json FILE] [--picture FILE]

A row is a family, or the `composite` with one thing changed (`tests/bench/variants.py`), trained for its minutes:
`composite,composite@20,pix2pixhd`. The table has medians over the seeds; the JSON has every training, and is written
after each, so that nothing is lost when hours of work are cut short: those that it has are not done again. Each clip's
picture, FILE with the clip's name before its ending, has the truth above the rows' results, first seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.common.frames import encode_frame
from services.common.synthetic import write_synthetic_pair
from services.trainer.data import Picture
from tests.bench.report import machine
from tests.bench.rows import Row, study_clip, train_row
from tests.bench.variants import variant, variants

_REPOSITORY = Path(__file__).resolve().parents[2]
_COLUMNS = {
    "person_ssim": "person-SSIM", "person_psnr_db": "person-PSNR", "sharpness": "sharpness", "flicker": "flicker",
    "person_cvvdp_jod": "ColorVideoVDP, JOD",
}  # fmt: skip
_RATES = {
    "images_per_second": "trained images/s", "frames_per_second": "rendered frames/s",
    "small_per_second": "of the network's size, frames/s",
    "torch_per_second": "network by torch in float32, frames/s",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A row of the table: what is trained, and for how long."""

    name: str
    minutes: float

    @classmethod
    def parse(cls, text: str, minutes: float) -> Wanted:
        """Of NAME or NAME@MINUTES. Raises ValueError for a name or a time that cannot be."""
        name, _, own = text.partition("@")
        variant(name, 1, 0)  # an unknown name is refused before hours of work
        wanted = cls(name, float(own) if own else minutes)
        if not wanted.minutes > 0:
            raise ValueError(f"{text}: training takes more than 0 minutes")
        return wanted

    @property
    def label(self) -> str:
        return f"{self.name}, {self.minutes:g} min"


class Book:
    """All trainings so far, kept in a file where one is named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entries: list[dict[str, Any]] = []
        if path is not None and path.is_file():
            self._entries = json.loads(path.read_text())["trainings"]

    def find(self, clip: Path, wanted: Wanted, seed: int) -> Row | None:
        """The training, if it was done."""
        for entry in self._entries:
            if (entry["clip"], entry["minutes"], entry["row"]["name"], entry["row"]["seed"]) == (
                clip.name, wanted.minutes, wanted.name, seed,
            ):  # fmt: skip
                return Row(**entry["row"])
        return None

    def add(self, clip: Path, wanted: Wanted, row: Row) -> None:
        self._entries.append({"clip": clip.name, "minutes": wanted.minutes, "row": asdict(row), "machine": machine()})
        if self._path is not None:
            self._path.write_text(json.dumps({"trainings": self._entries}, indent=1))


def compare(clip: Path, frames: int, rows: Sequence[Wanted], seeds: int, book: Book) -> list[Picture]:
    """Does all trainings of a clip that the book lacks. Returns the sheets of those of the first seed."""
    missing = [(seed, each) for seed in range(seeds) for each in rows if book.find(clip, each, seed) is None]
    if not missing:
        return []
    study, sheets = study_clip(clip, frames), []
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        for seed, each in missing:
            row, sheet = train_row(each.name, seed, 60.0 * each.minutes, study, Path(folder))
            book.add(clip, each, row)
            if seed == 0:
                sheets.append(sheet)
            sys.stderr.write(
                f"{clip.name}: {each.label}, seed {seed}: {row.iterations} iterations in {row.seconds:.0f} s, "
                f"person-SSIM {row.metrics['generated'].get('person_ssim', float('nan')):.3f}\n"
            )
    return sheets


def table(clip: Path, rows: Sequence[Wanted], seeds: int, book: Book) -> str:
    """Markdown; medians over the seeds."""
    head = [clip.name, "iterations x images", *_COLUMNS.values(), *_RATES.values()]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    done = {each: [row for seed in range(seeds) if (row := book.find(clip, each, seed))] for each in rows}
    first = done[rows[0]]
    lines += [" | ".join([name, "", *_measures(first, name), *("" for _ in _RATES)]) for name in ("nearest", "draft")]
    for each, trained in done.items():
        size = f"{statistics.median(row.iterations for row in trained):.0f} x {trained[0].images}"
        rates = [f"{statistics.median(getattr(row, rate) for row in trained):.1f}" for rate in _RATES]
        lines.append(" | ".join([each.label, size, *_measures(trained, "generated"), *rates]))
    return "\n".join(lines)


def _measures(rows: Sequence[Row], performer: str) -> list[str]:
    nan = float("nan")
    return [f"{statistics.median(row.metrics[performer].get(key, nan) for row in rows):.3f}" for key in _COLUMNS]


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fidelity", description="Quality of performers.")
    what = "a video with one person, may be given several times; default: a synthetic dancer"
    parser.add_argument("--clip", type=Path, action="append", default=[], help=what)
    parser.add_argument("--frames", type=int, default=0, help="of each clip, from its start; 0 is all (default)")
    parser.add_argument("--rows", default="composite,pix2pixhd", help=f"NAME[@MINUTES] of {', '.join(variants())}")
    parser.add_argument("--minutes", type=float, default=2.5, help="of training where a row names none (default 2.5)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row (default 3)")
    parser.add_argument("--json", type=Path, help="where every training goes; what it has is not done again")
    parser.add_argument("--picture", type=Path, help="where JPEGs go, one a clip: the truth above each row's result")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Prints a table for each clip."""
    arguments = _arguments(given)
    rows = [Wanted.parse(text, arguments.minutes) for text in arguments.rows.split(",")]
    clips, frames = list(arguments.clip), arguments.frames
    if not clips:
        frames = frames or 200
        clips = [write_synthetic_pair(_REPOSITORY / ".cache" / "bench", source_frames=8, target_frames=frames).target]
    book, about = Book(arguments.json), machine()
    sys.stdout.write(f"medians of {arguments.seeds} seeds on {about['processor']}, {about['cores']} cores\n")
    for clip in clips:
        sheets = compare(clip, frames, rows, arguments.seeds, book)
        sys.stdout.write(f"\n{table(clip, rows, arguments.seeds, book)}\n")
        sys.stdout.flush()
        if arguments.picture and sheets:
            widest = max(sheet.shape[1] for sheet in sheets)
            padded = [np.pad(sheet, ((0, 0), (0, widest - sheet.shape[1]), (0, 0))) for sheet in sheets]
            path = arguments.picture.with_stem(f"{arguments.picture.stem}-{clip.stem}")
            path.write_bytes(encode_frame(np.concatenate(padded)))


if __name__ == "__main__":
    main()
