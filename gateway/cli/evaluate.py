"""`understudy evaluate`: how good a performer is on frames that it never saw."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.cli.home import Home
from gateway.cli.some_services import some_services, tell
from gateway.cli.transfer import interruptible
from gateway.resources import Evaluation
from services.common.errors import Cancelled, Forbidden, StorageFull

SERVICES = ("pose", "trainer", "renderer")
FILES = ("index.html", "comparison.mp4", "sheet.jpg", "evaluation.json")
_WORDS = {
    "person_ssim": "person SSIM", "person_psnr_db": "person PSNR dB", "ssim": "SSIM", "psnr_db": "PSNR dB",
    "sharpness": "sharpness", "flicker": "flicker", "flicker_outside": "outside", "pose_distance": "pose distance",
    "missed_poses": "missed", "person_cvvdp_jod": "ColorVideoVDP", "person_lpips": "person LPIPS",
}  # fmt: skip


def evaluate_performer(performer: str, folder: Path, home_path: Path | None, *, as_json: bool) -> None:
    """Prints the table, or JSON, and leaves page, video, sheet and JSON in `folder`."""
    home = Home.open(home_path)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with (
            interruptible(),
            console.status("starting the services") as status,
            some_services(home, SERVICES, console.print) as client,
        ):
            client.performer(performer)  # an unknown one leaves no folder
            found = client.evaluate(performer, lambda stages: tell(status, stages))
            _make(folder)
            for name in FILES:
                client.save(f"/v1/performers/{performer}/evaluation/files/{name}", folder / name)
    except KeyboardInterrupt:
        raise Cancelled("stopped; the same command goes on where it stopped") from None
    if as_json:
        sys.stdout.write(json.dumps(found.model_dump(mode="json") | {"page": str(folder / FILES[0])}) + "\n")
    else:
        _report(found, folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = StorageFull if error.errno == 28 else Forbidden
        raise kind(f"cannot make the folder {folder}: {error.strerror}; give another -o", path=folder) from error


def _report(found: Evaluation, folder: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    shown = [name for name in _WORDS if any(name in row.metrics for row in found.rows)]
    table = Table(box=None)
    table.add_column("")
    for row in found.rows:
        table.add_column(row.name, justify="right")
    for name in shown:
        values = (row.metrics.get(name) for row in found.rows)
        table.add_row(_WORDS[name], *("" if value is None else f"{value:.3f}" for value in values))
    console.print(table)
    console.print(f"{found.frame_count} frames; {folder / FILES[0]} plays them side by side", markup=False)
