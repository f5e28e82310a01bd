"""How fast training and its generators are: presets and families side by side, on one target.

    python -m tests.bench.train [--clip FILE] [--frames N] [--presets preview,...] [--families composite,...]
                                [--runs N] [--json FILE] [--picture FILE]

Each row is a process of its own, so that its memory is its own: that of the GPU where there is one, else what is
resident. Training computes on the best device that there is, rendering as the renderer does. How good what is trained
becomes is for `tests.bench.fidelity`, also against the clock.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import torch

from services.common.synthetic import write_synthetic_pair
from services.trainer.draft import DraftConfig, read_references
from services.trainer.presets import PRESETS, Config, training_config
from tests.bench.plain import StudiedClip
from tests.bench.report import Spread, machine, peak_memory_mib
from tests.bench.rows import iteration_seconds, prepare, rendered_per_second, study_clip
from tests.bench.variants import variant, variants

_REPOSITORY = Path(__file__).resolve().parents[2]
_MIB = 1 << 20
_ITERATIONS = 1000


@dataclass(frozen=True)
class Speed:
    """One row. images: generated an iteration. memory_mib: at most, after rendering too.

    images_per_second, frames_per_second: of training and of rendering, one value a run.
    """

    preset: str
    family: str
    device: str
    parameters: int
    images: int
    images_per_second: list[float]
    frames_per_second: list[float]
    memory_mib: float

    @property
    def label(self) -> str:
        return f"{self.family}, {self.preset}"


def measure(preset: str, family: str, study: StudiedClip, runs: int) -> Speed:
    """In this process."""
    prepared = prepare(_config(preset, family), study)
    training, split = prepared.training, prepared.split
    trained = [prepared.images / iteration_seconds(training) for _ in range(runs)]
    references = read_references(split, study.camera, DraftConfig.references, study.some)
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        rendered = [rendered_per_second(training, split, references, Path(folder)) for _ in range(runs)]
    on_gpu = training.device.torch.type == "cuda"
    memory = torch.cuda.max_memory_allocated() / _MIB if on_gpu else peak_memory_mib()
    device = torch.cuda.get_device_name() if on_gpu else training.device.torch.type
    parameters = sum(parameter.numel() for parameter in training.performer.parameters())
    return Speed(preset, family, device, parameters, prepared.images, trained, rendered, memory)


def _config(preset: str, family: str) -> Config:
    """Raises InvalidOption or ValueError for what there is not."""
    if preset == "preview":
        return variant(family, _ITERATIONS, 0)
    return training_config(preset, family, _ITERATIONS, 0)


def _apart(preset: str, family: str, study: Path, runs: int) -> Speed:
    """In a process of its own. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "tests.bench.train", "--row", preset, family, str(study), "--runs", str(runs)]
    began = time.monotonic()
    told = subprocess.run(command, cwd=_REPOSITORY, check=True, stdout=subprocess.PIPE).stdout
    sys.stderr.write(f"{family}, {preset}: {time.monotonic() - began:.0f} s\n")
    return Speed(**json.loads(told))


def table(rows: Sequence[Speed]) -> str:
    """Markdown."""
    head = ["training", "device", "parameters", "images/s, trained", "frames/s, rendered", "memory at most, MiB"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for row in rows:
        rates = [str(Spread.of(row.images_per_second)), str(Spread.of(row.frames_per_second))]
        size = f"{row.parameters / 1e6:.1f} M"
        lines.append(" | ".join([row.label, row.device, size, *rates, f"{row.memory_mib:.0f}"]))
    return "\n".join(lines)


def picture(rows: Sequence[Speed]) -> str:
    """SVG: both rates of each row, as bars whose lengths are logarithms, since they differ by orders of magnitude."""
    width, height = 760, 60 + 52 * len(rows)
    medians = [(statistics.median(row.images_per_second), statistics.median(row.frames_per_second)) for row in rows]
    least = min(min(pair) for pair in medians) / 2.0
    most = max(max(pair) for pair in medians)

    def length(rate: float) -> float:
        return round(430.0 * math.log(rate / least) / math.log(most / least), 1)

    parts = []
    for number, (row, pair) in enumerate(zip(rows, medians, strict=True)):
        top = 44 + 52 * number
        parts.append(f'<text x="190" y="{top + 25}" text-anchor="end">{escape(row.label)}</text>')
        for line, (rate, colour, unit) in enumerate(
            zip(pair, ("#5b8fc9", "#c98f5b"), ("images/s trained", "frames/s rendered"), strict=True)
        ):
            y = top + 20 * line
            parts.append(f'<rect x="200" y="{y}" width="{length(rate)}" height="18" fill="{colour}"/>')
            parts.append(f'<text x="{206 + length(rate)}" y="{y + 13}">{rate:.2f} {unit}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="10" y="24" font-size="14">'
        f"Training and rendering (logarithmic)</text>{''.join(parts)}</svg>\n"
    )


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.train", description="Speed of training.")
    parser.add_argument("--clip", type=Path, help="a video with one person; default: a synthetic dancer")
    parser.add_argument("--frames", type=int, default=100, help="of the clip, from its start; 0 is all (default 100)")
    parser.add_argument("--presets", default="preview", help=f"of {', '.join(PRESETS[1:])} (default preview)")
    families = "composite,pix2pixhd"
    parser.add_argument(
        "--families", default=families, help=f"default {families}; of preview also {', '.join(variants())}"
    )
    parser.add_argument("--runs", type=int, default=3, help="of each measure (default 3)")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--picture", type=Path, help="where an SVG goes")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)  # what a process of its own is told
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Prints the table."""
    arguments = _arguments(given)
    if arguments.row:
        preset, family, study = arguments.row
        found = measure(preset, family, StudiedClip.load(Path(study)), arguments.runs)
        sys.stdout.write(json.dumps(asdict(found)))
        return
    wanted = [(preset, family) for preset in arguments.presets.split(",") for family in arguments.families.split(",")]
    for preset, family in wanted:
        _config(preset, family)  # what there is not is refused before the work
    clip = arguments.clip
    if clip is None:
        folder = _REPOSITORY / ".cache" / "bench"
        clip = write_synthetic_pair(folder, source_frames=8, target_frames=arguments.frames or 100).target
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
        study = Path(name) / "study"
        study_clip(clip, arguments.frames).save(study)
        rows = [_apart(*each, study, arguments.runs) for each in wanted]
    about = machine()
    sys.stdout.write(
        f"{clip.name} on {about['processor']}, {about['cores']} cores, median (min-max) of {arguments.runs} runs "
        f"(load after: {about['load_1_minute']})\n\n{table(rows)}\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "rows": list(map(asdict, rows))}, indent=1))
    if arguments.picture:
        arguments.picture.write_text(picture(rows))


if __name__ == "__main__":
    main()
