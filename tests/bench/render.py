"""How fast performers render, in which memory, and whether what is rendered apart joins unseen.

    python -m tests.bench.render [--clip FILE] [--frames N] [--families composite,pix2pixhd,draft] [--iterations N]
                                 [--long-minutes M] [--every N] [--runtime NAME] [--json FILE] [--picture FILE]

A performer of each family is trained for a moment and performs its own clip. Frames a second: whole frames as the
renderer stores them, after the first shard. Memory: resident at most, of a process that renders the first 10 s, and of
one that renders the clip looped to M minutes (of whose shards every Nth, from the first to the last). Seam: what
rendering every shard by a renderer of its own costs the frames beside the borders, in dB of PSNR against the film,
beside rendering all in one go.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import Artifact, ArtifactRef, Artifacts, Recipe
from services.common.camera import compose, warp
from services.common.metrics_image import Picture, psnr_db
from services.common.nn.processors import available_cpus
from services.common.nn.window import WindowPath, follow_window
from services.common.shards import FRAMES_PER_SHARD
from services.common.stage import Job
from services.common.store.files import FileObjectStore
from services.common.synthetic import write_synthetic_pair
from services.common.telemetry import configure_logging
from services.common.tracks import PoseTrack
from services.renderer.families import ContinuingWindows, Windows, open_windows
from services.renderer.runtimes.openvino import OpenVino
from services.renderer.worker import Renderer, RenderRequest, rendered_recipe
from services.trainer.presets import run_config
from services.trainer.worker import Trainer, TrainRequest, performer_recipe
from tests.bench.plain import StudiedClip
from tests.bench.report import machine, peak_memory_mib
from tests.bench.rows import study_clip
from tests.support.studies import store_study, store_track
from tests.unit.trainer.figure import Study

_REPOSITORY = Path(__file__).resolve().parents[2]
_SHORT_SECONDS, _RATE = 10.0, 24.0
_BESIDE = 3
"""Frames on either side of a border that count as beside it."""


@dataclass(frozen=True)
class Performed:
    """What a process that rendered some shards of a dance of so many frames saw."""

    dance_frames: int
    rendered_frames: int
    frames_per_second: float
    memory_mib: float


@dataclass(frozen=True)
class Row:
    """One family. seam_db: nan where the clip has one shard."""

    family: str
    preset: str
    short: Performed
    long: Performed
    seam_db: float


def perform(
    folder: Path, performer: ArtifactRef, track: ArtifactRef, frames: int, every: int, runtime: str
) -> Performed:
    """Renders every so many shards of a dance in this process, its last shard among them."""
    artifacts = Artifacts(FileObjectStore(folder / "store"), folder / "cache")
    renderer = Renderer(artifacts, runtime=runtime, cache_dir=folder / "cache")
    starts = list(range(0, frames, FRAMES_PER_SHARD))
    chosen = sorted({*starts[::every], starts[-1]})
    count, seconds = 0, 0.0
    for number, start in enumerate(chosen):
        request = RenderRequest(performer, track, start, min(FRAMES_PER_SHARD, frames - start))
        writer = artifacts.write(rendered_recipe(request))
        began = time.perf_counter()
        facts = renderer.render(request, Job(), writer)
        if number:  # the first one sets everything up
            count, seconds = count + int(facts["rendered_count"]), seconds + time.perf_counter() - began
        for entry in writer.objects.values():
            artifacts.store.delete(f"{writer.recipe.ref.prefix}{entry['sha256']}")  # long dances would fill the disk
    return Performed(frames, count, count / seconds if seconds else float("nan"), peak_memory_mib())


def _apart(
    folder: Path, performer: ArtifactRef, track: ArtifactRef, frames: int, every: int, runtime: str
) -> Performed:
    """In a process of its own."""
    told = [performer.kind, performer.key, track.kind, track.key, str(frames), str(every), runtime]
    command = [sys.executable, "-m", "tests.bench.render", "--perform", str(folder), *told]
    answer = subprocess.run(command, cwd=_REPOSITORY, check=True, stdout=subprocess.PIPE).stdout
    return Performed(**json.loads(answer))


def measure(
    family: str, study: StudiedClip, iterations: int, long_minutes: float, every: int, runtime: str, folder: Path
) -> Row:
    """Trains and renders one family."""
    artifacts = Artifacts(FileObjectStore(folder / "store"), folder / "cache")
    pictures = [picture for _, picture, _ in study.frames(np.arange(len(study.track)))]
    refs = store_study(artifacts, Study(pictures, study.mattes, study.track, study.camera, study.plate), family)
    config = run_config("draft" if family == "draft" else "preview", family, iterations, 0)
    request = TrainRequest(refs, config)
    writer = artifacts.write(performer_recipe(request))
    trained = artifacts.commit(writer, Trainer(artifacts).train(request, Job(), writer))
    performer = _by_its_network(artifacts, trained).ref
    registered = study.track.transformed(study.camera.matrices)
    found = []
    for name, seconds, step in (("short", _SHORT_SECONDS, 1), ("long", 60.0 * long_minutes, every)):
        dance = _looped(registered, round(seconds * _RATE))
        track = store_track(artifacts, dance, "driven_track", f"{family}-{name}")
        found.append(_apart(folder, performer, track, len(dance), step, runtime))
        sys.stderr.write(f"{family}: {seconds:.0f} s of dance, {found[-1].rendered_frames} frames timed\n")
    seam = _seam_db(artifacts, performer, study, pictures)
    return Row(family, config.preset, found[0], found[1], seam)


def _by_its_network(artifacts: Artifacts, performer: Artifact) -> Artifact:
    """With nothing of the draft but its detail: what was trained for a moment would show the draft alone, and be
    rendered without its network."""
    config = performer.read_json("config.json")
    if not config.get("draft_outline"):
        return performer
    writer = artifacts.write(Recipe("performer", "bench", 1, {}, {"of": performer.ref.key}))
    for name in performer.names():
        if name != "config.json":
            writer.put_bytes(name, performer.read_bytes(name))
    writer.put_json("config.json", config | {"draft_share": 0.0, "draft_outline": 0.0})
    return artifacts.commit(writer, performer.facts)


def _looped(track: PoseTrack, frames: int) -> PoseTrack:
    order = np.arange(frames) % len(track)
    return replace(track, keypoints=track.keypoints[order], valid=track.valid[order])


def _seam_db(artifacts: Artifacts, ref: ArtifactRef, study: StudiedClip, film: Sequence[Picture]) -> float:
    """Median over the frames beside borders: PSNR rendered apart less PSNR rendered in one go, dB."""
    performer = artifacts.open(ref)
    config, track = performer.read_json("config.json"), study.track.transformed(study.camera.matrices)
    centre = np.array(config["centre"]) if config.get("centre") else None
    window = follow_window(track, config["scale"], config["resolution"], config["multiple"], centre)
    count = len(track)
    borders = range(FRAMES_PER_SHARD, count, FRAMES_PER_SHARD)
    beside = [t for border in borders for t in range(border - _BESIDE, min(count, border + _BESIDE)) if track.valid[t]]
    if not beside:
        return float("nan")

    threads = available_cpus()

    def opened() -> Windows:
        return open_windows(performer, config, window, track, threads, OpenVino(threads))

    whole: Windows = opened()
    if isinstance(whole, ContinuingWindows):
        model = performer.local_path("generator.onnx")
        whole = ContinuingWindows(model, window, track, OpenVino(threads), run=count)
    apart = [opened() for _ in range(0, count, FRAMES_PER_SHARD)]
    differences = []
    for t in beside:
        truth = warp(film[t], compose(window.matrices[t], study.camera.matrices[t]), (window.width, window.height))
        behind = warp(study.plate, window.matrices[t], (window.width, window.height))
        pair = [_laid(windows, t, behind, window) for windows in (apart[t // FRAMES_PER_SHARD], whole)]
        differences.append(psnr_db(pair[0], truth) - psnr_db(pair[1], truth))
    return statistics.median(differences)


def _laid(windows: Windows, frame: int, behind: Picture, window: WindowPath) -> Picture:
    shown: NDArray[np.float32] = windows(np.array([frame]))[0]
    factor = windows.factor
    small = shown.reshape(window.height, factor, window.width, factor, 4).mean(axis=(1, 3))
    colour, alpha = 255.0 * small[..., :3], small[..., 3:]
    return np.asarray(np.rint(behind + alpha * (colour - behind)), dtype=np.uint8)


def table(rows: Sequence[Row], long_minutes: float) -> str:
    """Markdown."""
    head = [
        "family", "preset", "frames/s", "memory of 10 s, MiB", f"of {long_minutes:g} min, MiB", "seam, dB of PSNR",
    ]  # fmt: skip
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for row in rows:
        memory = [f"{each.memory_mib:.0f}" for each in (row.short, row.long)]
        lines.append(
            " | ".join([row.family, row.preset, f"{row.long.frames_per_second:.1f}", *memory, f"{row.seam_db:+.3f}"])
        )
    return "\n".join(lines)


def picture(rows: Sequence[Row]) -> str:
    """SVG: memory of the short and the long dance of each family, and its frames a second."""
    most = max(each.memory_mib for row in rows for each in (row.short, row.long))
    parts = []
    for number, row in enumerate(rows):
        top = 44 + 52 * number
        parts.append(f'<text x="110" y="{top + 25}" text-anchor="end">{row.family}</text>')
        for line, (each, colour) in enumerate(((row.short, "#5b8fc9"), (row.long, "#c98f5b"))):
            width, y = round(380.0 * each.memory_mib / most, 1), top + 20 * line
            text = f"{each.memory_mib:.0f} MiB for {each.dance_frames} frames, {each.frames_per_second:.1f} frames/s"
            parts.append(f'<rect x="120" y="{y}" width="{width}" height="18" fill="{colour}"/>')
            parts.append(f'<text x="{126 + width}" y="{y + 13}">{text}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{60 + 52 * len(rows)}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="10" y="24" font-size="14">'
        f"Resident memory of the renderer, at most</text>{''.join(parts)}</svg>\n"
    )


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.render", description="Speed and memory of rendering.")
    parser.add_argument("--clip", type=Path, help="a video with one person; default: a synthetic dancer")
    parser.add_argument("--frames", type=int, default=200, help="of the clip, from its start; 0 is all (default 200)")
    parser.add_argument("--families", default="composite,pix2pixhd,draft", help="default: composite,pix2pixhd,draft")
    parser.add_argument("--iterations", type=int, default=100, help="of each training (default 100)")
    parser.add_argument("--long-minutes", type=float, default=20.0, help="of the long dance (default 20)")
    parser.add_argument("--every", type=int, default=20, help="of so many shards of the long dance one (default 20)")
    parser.add_argument("--runtime", default="openvino", help="that renders; the seam is OpenVINO's (default openvino)")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--picture", type=Path, help="where an SVG goes")
    parser.add_argument("--perform", nargs=8, help=argparse.SUPPRESS)  # what a process of its own is told
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Prints the table."""
    arguments = _arguments(given)
    if arguments.perform:
        configure_logging("renderer", "console", "warning")  # to stderr: what is printed is the answer
        folder, kind, key, track_kind, track_key, frames, every, runtime = arguments.perform
        found = perform(
            Path(folder), ArtifactRef(kind, key), ArtifactRef(track_kind, track_key), int(frames), int(every), runtime
        )
        sys.stdout.write(json.dumps(asdict(found)))
        return
    families, clip = arguments.families.split(","), arguments.clip
    for family in families:
        run_config("draft" if family == "draft" else "preview", family, 1, 0)  # one that there is not is refused now
    if clip is None:
        cache = _REPOSITORY / ".cache" / "bench"
        clip = write_synthetic_pair(cache, source_frames=8, target_frames=arguments.frames or 200).target
    study = study_clip(clip, arguments.frames)
    rows = []
    for family in families:
        with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
            long_minutes, every, runtime = arguments.long_minutes, arguments.every, arguments.runtime
            rows.append(measure(family, study, arguments.iterations, long_minutes, every, runtime, Path(name)))
    about = machine()
    sys.stdout.write(
        f"{clip.name}: {len(study.track)} frames of {study.track.width} x {study.track.height} px, on "
        f"{about['processor']}, {about['cores']} cores (load after: {about['load_1_minute']})\n\n"
        f"{table(rows, arguments.long_minutes)}\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}, indent=1))
    if arguments.picture:
        arguments.picture.write_text(picture(rows))


if __name__ == "__main__":
    main()
