"""The program `understudy`."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import typer
from rich.console import Console

from gateway.backgrounds import FORMS as FORMS_OF_BACKGROUND
from gateway.cli.display import Display, JsonDisplay, TerminalDisplay, duration
from gateway.cli.evaluate import evaluate_performer
from gateway.cli.exits import Exit, exit_code
from gateway.cli.gc import gc_app
from gateway.cli.home import Home
from gateway.cli.keys import keys_app
from gateway.cli.options import FORMS_OF_TIME, person, training_seconds, with_background
from gateway.cli.people import show_people
from gateway.cli.resources import HomeOption, JsonOption, resource_app, transfers_app
from gateway.cli.stack import Stack
from gateway.cli.transfer import ENDINGS, Job, Part, formats_of, interruptible, run_transfer
from gateway.resources import Family, Preset, Transfer
from services.common.errors import InvalidOption, UnderstudyError
from services.common.subject import FORMS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Give it two videos; it returns the one person dancing the other's dance.",
)
app.add_typer(transfers_app(), name="transfers")
app.add_typer(resource_app("performers"), name="performers")
app.add_typer(resource_app("clips"), name="clips")
app.add_typer(keys_app, name="keys")
app.add_typer(gc_app, name="gc")

FORMS_OF_PRESET = "draft (no training), preview (minutes on a CPU), standard or hd; default: what suits the trainer"
MODES = ("global", "limbs")


def main() -> NoReturn:
    """Runs the program; every error of ours becomes one line and an exit code (gateway/cli/exits.py)."""
    as_json = "--json" in sys.argv
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        _say(as_json, "stopped; the same command goes on where it stopped", "CANCELLED")
        sys.exit(Exit.INTERRUPTED)
    except UnderstudyError as error:
        _say(as_json, error.message, error.reason, error.metadata)
        sys.exit(exit_code(type(error)))
    sys.exit(Exit.OK)


def _say(as_json: bool, message: str, reason: str, metadata: dict[str, str] | None = None) -> None:
    if as_json:
        JsonDisplay().emit("error", reason=reason, message=message, metadata=metadata or {})
    else:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"understudy: {message}", markup=False)


@app.command()
def transfer(
    source: Annotated[str, typer.Argument(help="Video of the dance: a file or an http(s) address.")],
    target: Annotated[str, typer.Argument(help="Video of the person who shall dance it.")] = "",
    output: Annotated[Path, typer.Option("-o", "--output", help=f"Result: {ENDINGS}.")] = Path("out.mp4"),
    performer: Annotated[str, typer.Option(help="A trained performer's name or id, instead of TARGET.")] = "",
    preset: Annotated[str, typer.Option(help=f"{FORMS_OF_PRESET}.")] = "",
    family: Annotated[str, typer.Option(help="composite (default), or pix2pixhd as in the papers.")] = "",
    mode: Annotated[str, typer.Option(help="How the dance is fitted to the body: global or limbs.")] = "global",
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Also source, pose and result.")] = False,
    start: Annotated[float, typer.Option(min=0, help="Start in the source, seconds.")] = 0.0,
    end: Annotated[float, typer.Option(min=0, help="End in the source, seconds; 0 is its end.")] = 0.0,
    max_frames: Annotated[int, typer.Option(min=0, help="Most frames of the source; 0 is all.")] = 0,
    target_start: Annotated[float, typer.Option(min=0, help="Start in the target, seconds.")] = 0.0,
    target_end: Annotated[float, typer.Option(min=0, help="End in the target, seconds.")] = 0.0,
    target_max_frames: Annotated[int, typer.Option(min=0, help="Most frames of the target.")] = 0,
    source_person: Annotated[str, typer.Option(help=f"Whom to follow: {FORMS}.")] = "",
    target_person: Annotated[str, typer.Option(help="The same for the target.")] = "",
    background: Annotated[str, typer.Option(help=f"Behind the dancer: {FORMS_OF_BACKGROUND}.")] = "plate",
    camera: Annotated[str, typer.Option(help="steady, or moving as the target's (or source's) did.")] = "steady",
    name: Annotated[str, typer.Option(help="Name for the new performer.")] = "",
    iterations: Annotated[int, typer.Option(min=0, help="Training iterations; 0 is the preset's.")] = 0,
    time_budget: Annotated[str, typer.Option(help=f"Train for so long instead: {FORMS_OF_TIME}.")] = "",
    quality_target: Annotated[float, typer.Option(min=0, max=0.99, help="Stop training at this SSIM.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training.")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes TARGET dance SOURCE's dance."""
    _one_of("--preset", preset, get_args(Preset))
    _one_of("--family", family, get_args(Family))
    if preset == "draft" and family:
        raise InvalidOption("a draft is not trained and has no family; leave --family out", option="--family")
    _one_of("--mode", mode, MODES)
    behind, options = with_background(
        background,
        {
            "preset": preset, "family": family, "normalization": mode, "formats": formats_of(output),
            "side_by_side": side_by_side, "iterations": iterations, "seed": seed, "performer_name": name,
            "camera": camera, "quality_target": quality_target,
            "training_seconds": training_seconds(time_budget, iterations, performer, preset),
        },
    )  # fmt: skip
    dancer, performing = person("--source-person", source_person), person("--target-person", target_person)
    job = Job(
        Part(source, start, end, max_frames, dancer),
        Part(target, target_start, target_end, target_max_frames, performing) if target else None,
        performer,
        output,
        options,
        behind,
    )
    display: Display = JsonDisplay() if as_json else TerminalDisplay(Console(stderr=True, highlight=False))
    with display:
        finished = run_transfer(job, home, display)
    if isinstance(display, JsonDisplay):
        display.emit("result", output=str(output), transfer=finished.model_dump(mode="json"))
    else:
        _report(job, finished)


def _report(job: Job, finished: Transfer) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for warning in finished.warnings:
        console.print(f"note: {warning}", markup=False)
    if "person_ssim" in finished.metrics:
        others = {"draft": finished.draft_metrics, "nearest training frame": finished.nearest_metrics}
        beside = [f"{name}: {each['person_ssim']:.3f}" for name, each in others.items() if "person_ssim" in each]
        console.print(
            f"held-out person SSIM {finished.metrics['person_ssim']:.3f}"
            + (f" ({', '.join(beside)})" if beside else "")
        )
    if "missed_poses" in finished.metrics:
        found, off = 1.0 - finished.metrics["missed_poses"], finished.metrics.get("pose_distance")
        off_by = "" if off is None else f", {off:.3f} body heights from those asked for"
        console.print(f"held-out poses found again in {found:.0%} of the frames{off_by}")
    console.print(f"{job.output}: {finished.summary}, {duration(finished.elapsed_seconds)}", markup=False)


@app.command()
def people(
    video: Annotated[str, typer.Argument(help="A file or an http(s) address.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The contact sheet, .jpg.")] = Path("people.jpg"),
    start: Annotated[float, typer.Option(min=0, help="Start, seconds.")] = 0.0,
    end: Annotated[float, typer.Option(min=0, help="End, seconds; 0 is its end.")] = 0.0,
    max_frames: Annotated[int, typer.Option(min=0, help="Most frames; 0 is all.")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shows who is in VIDEO, numbered. The numbers hold for the same --start, --end and --max-frames."""
    show_people(Part(video, start, end, max_frames), output, home, as_json=as_json)


@app.command()
def evaluate(
    performer: Annotated[str, typer.Argument(help="Its name or id.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder; PERFORMER-evaluation if none.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Says how good PERFORMER is on frames that it never saw, in numbers and with a page to look at."""
    evaluate_performer(performer, output or Path(f"{performer}-evaluation"), home, as_json=as_json)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port on loopback; 0 takes a free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port on loopback; 0 takes a free one.")] = 0,
    metrics: Annotated[bool, typer.Option("--metrics", help="Serve every process's metrics for Prometheus.")] = False,
    home: HomeOption = None,
) -> None:
    """Keeps gateway and services running until Ctrl-C."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    opened = Home.open(home)
    with (
        contextlib.suppress(KeyboardInterrupt),
        interruptible(),
        Stack(opened, console.print, http_port=port, grpc_port=grpc_port, metrics=metrics) as stack,
    ):
        console.print(f"HTTP {stack.url} (API: {stack.url}/docs), gRPC 127.0.0.1:{stack.grpc_port}")
        for name, url in stack.metrics_urls.items() if metrics else ():
            console.print(f"metrics of {name}: {url}")
        console.print(f"data in {opened.path}; Ctrl-C stops")
        while not threading.Event().wait(0.5):
            stack.check()


@app.command()
def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Says whether this machine has what it needs, and what to do when it has not."""
    from gateway.cli.doctor import examine

    if not examine(home, as_json=as_json):
        sys.exit(Exit.FAILED)


@app.command(hidden=True)
def demo(folder: Path, home: HomeOption = None) -> None:
    """A transfer between two synthetic dancers, measured against the truth: `make demo`."""
    from gateway.cli.demo import run_demo

    run_demo(folder, home)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidOption(f"{option} {value}: choose one of {', '.join(filter(None, choices))}", option=option)
