"""`python -m tests.bench`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from services.common.synthetic import write_synthetic_pair
from tests.bench.report import Report, machine
from tests.bench.served import run_served
from tests.bench.stages import Run, Work

_REPOSITORY = Path(__file__).resolve().parents[2]


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Throughput of each stage.")
    parser.add_argument("--clip", type=Path, help="a video with one person, neither turned nor letterboxed; default: "
                        "a synthetic dancer")  # fmt: skip
    parser.add_argument("--frames", type=int, default=200, help="of the clip, from its start; 0 is all (default 200)")
    parser.add_argument("--runs", type=int, default=3, help="of services and plain script, in turn (default 3)")
    parser.add_argument("--iterations", type=int, default=200, help="of training, preset preview (default 200)")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--picture", type=Path, help="where an SVG with bars goes")
    return parser.parse_args(given)


def bench(work: Work, runs: int) -> Report:
    """Runs services and plain script in turn. Raises ValueError when they did not do the same work."""
    pairs = []
    for number in range(1, runs + 1):
        served = _fresh(f"run {number} of {runs}: services", work, plain=False)
        plain = _fresh(f"run {number} of {runs}: plain script", work, plain=True)
        if (served.width, served.height, served.counts) != (plain.width, plain.height, plain.counts):
            raise ValueError(
                "services and plain script worked on different frames; take a clip of constant rate that is neither "
                f"turned nor letterboxed: {served} and {plain}"
            )
        pairs.append((served, plain))
    return Report(pairs)


def _fresh(what: str, work: Work, *, plain: bool) -> Run:
    """One run in a folder of its own."""
    sys.stderr.write(f"{what} ... ")
    sys.stderr.flush()
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
        run = run_plain(work, Path(name)) if plain else run_served(work, Path(name))
    sys.stderr.write(f"{run.total_seconds:.1f} s\n")
    return run


def run_plain(work: Work, folder: Path) -> Run:
    """In a process of its own, which begins as cold as the services."""
    module = "tests.bench.plain"
    arguments = [str(work.clip.absolute()), str(work.frames), str(work.iterations), str(folder)]
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=_REPOSITORY, check=True)
    return Run(**json.loads((folder / "run.json").read_text()))


def main(given: list[str] | None = None) -> None:
    """Prints the table."""
    arguments = _arguments(given)
    clip = arguments.clip
    if clip is None:
        frames = arguments.frames or 200
        clip = write_synthetic_pair(_REPOSITORY / ".cache" / "bench", source_frames=8, target_frames=frames).target
    work = Work(clip, arguments.frames, arguments.iterations)
    about = machine()
    report = bench(work, arguments.runs)
    first = report.pairs[0][0]
    sys.stdout.write(
        f"{clip.name}: {first.frame_count} frames of {first.width} x {first.height} px, {arguments.runs} runs, "
        f"{arguments.iterations} iterations of training, on {about['processor']}, {about['cores']} cores "
        f"(load before: {about['load_1_minute']})\n\n{report.table()}\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(report.to_json() | {"machine": about}, indent=1))
    if arguments.picture:
        arguments.picture.write_text(report.picture())


if __name__ == "__main__":
    main()
