"""Every test clip as source and as target: `python -m tests.e2e.clips [--iterations N] [--max-frames N] OUT_FOLDER`.

`--pairs A,B,C` has every clip whose name begins so dance every other one's dance instead. Each must end in a result or
in a refusal that says why in numbers. Leaves `table.md`, and per result a contact sheet of source, pose and result side
by side.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from services.common.video import probe, read_frames
from tests.e2e.running import understudy_up
from tests.support.program import Run

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media" / "videos"
SOURCE, TARGET = "steadydancer_00002.mp4", "hybrik_taiji.mp4"
_SHEET_COLUMNS, _SHEET_ROWS = 2, 4
_SHEET_WIDTH_PX = 1600
_SECONDS = 1800.0


@dataclass(frozen=True)
class Row:
    """How one clip did in one role."""

    clip: str
    role: str
    answer: str
    warnings: list[str]
    seconds: float

    def line(self) -> str:
        return f"| {self.clip} | {self.role} | {self.answer} | {'<br>'.join(self.warnings)} | {self.seconds:.0f} |"


def contact_sheet(video: Path, sheet: Path) -> None:
    """Frames of a video, evenly spaced, in reading order."""
    frames = [picture for _, picture in read_frames(video, probe(video, crop_bars=False))]
    wanted = np.linspace(0, len(frames) - 1, _SHEET_COLUMNS * _SHEET_ROWS).astype(int)
    width = _SHEET_WIDTH_PX // _SHEET_COLUMNS
    height = round(width * frames[0].shape[0] / frames[0].shape[1])
    tiles = [cv2.resize(frames[at], (width, height), interpolation=cv2.INTER_AREA) for at in wanted.tolist()]
    rows = [np.hstack(tiles[at : at + _SHEET_COLUMNS]) for at in range(0, len(tiles), _SHEET_COLUMNS)]
    cv2.imwrite(str(sheet), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def transfer(source: Path, target: Path, name: str, folder: Path, home: Path, options: list[object]) -> Run:
    """One transfer to its end; a result leaves its contact sheet."""
    output = folder / f"{name}.mp4"
    run = Run(source, target, "-o", output, "--side-by-side", *options, "--home", home)
    code = run.wait(_SECONDS)
    assert code in {0, 3} or run.events[-1]["event"] == "error", (code, run.stderr)
    if code == 0:
        contact_sheet(folder / f"{name}-side-by-side.mp4", folder / f"{name}.jpg")
    return run


def row(clip: str, role: str, run: Run, seconds: float) -> Row:
    last = run.events[-1]
    if last["event"] == "error":
        return Row(clip, role, f"{last['reason']} (exit {run.process.returncode}): {last['message']}", [], seconds)
    result = run.result
    metrics = ", ".join(
        f"{name} {result['metrics'][name]:.3g}" for name in ("person_ssim",) if name in result["metrics"]
    )
    return Row(clip, role, "; ".join(filter(None, (result["summary"], metrics))), result["warnings"], seconds)


def every(folder: Path, only: str, options: list[object]) -> Iterator[Row]:
    """Runs them all over one stack; a row as soon as each has ended."""
    with understudy_up(folder / "home") as up:
        for clip in sorted(path for path in MEDIA.iterdir() if only in path.name):
            for role, source, target in (("source", clip, MEDIA / TARGET), ("target", MEDIA / SOURCE, clip)):
                began = time.monotonic()
                run = transfer(source, target, f"{clip.stem}-as-{role}", folder, up.home, options)
                yield row(clip.name, role, run, time.monotonic() - began)


def all_pairs(folder: Path, beginnings: list[str], options: list[object]) -> Iterator[Row]:
    """Every one of the clips as target, danced by each of the others, over one stack."""
    clips = [next(path for path in sorted(MEDIA.iterdir()) if path.name.startswith(each)) for each in beginnings]
    with understudy_up(folder / "home") as up:
        for target in clips:
            for source in clips:
                if source != target:
                    began, name = time.monotonic(), f"{target.stem}-dances-{source.stem}"
                    run = transfer(source, target, name, folder, up.home, options)
                    yield row(target.name, f"dances {source.name}", run, time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.clips", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="OUT_FOLDER")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--max-frames", type=int, default=120, help="of source and target each; 0 is all")
    parser.add_argument("--only", default="", help="clips whose name holds this")
    parser.add_argument(
        "--pairs", default="", help="beginnings of names; each of these clips dances all others' dances"
    )
    given = parser.parse_args()
    if not MEDIA.is_dir():
        parser.error(f"there is no folder {MEDIA}")
    given.folder.mkdir(parents=True, exist_ok=True)
    options: list[object] = ["--iterations", given.iterations, "--max-frames", given.max_frames]
    options += ["--target-max-frames", given.max_frames]
    with (given.folder / "table.md").open("w") as table:
        for line in ("| clip | role | result or refusal | warnings | seconds |", "|---|---|---|---|---|"):
            table.write(f"{line}\n")
        folder = given.folder.absolute()
        rows = all_pairs(folder, given.pairs.split(","), options) if given.pairs else every(folder, given.only, options)
        for each in rows:
            for out in (table, sys.stdout):
                out.write(f"{each.line()}\n")
                out.flush()


if __name__ == "__main__":
    main()
