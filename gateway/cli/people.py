"""`understudy people`: who is in a video, numbered, so that a transfer can be told whom to follow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.cli.client import part_of
from gateway.cli.home import Home
from gateway.cli.some_services import some_services, tell
from gateway.cli.transfer import Part, bringing_clips, check_input, check_output, interruptible
from gateway.resources import ClipPeople
from services.common.errors import Cancelled

SERVICES = ("downloader", "pose")
_ENDINGS = ("jpg", "jpeg")


def show_people(part: Part, sheet: Path, home_path: Path | None, *, as_json: bool) -> None:
    """Prints the table, or JSON, and leaves the contact sheet in `sheet` when there is anybody."""
    if not part.is_url:
        check_input(Path(part.where))
    check_output(sheet, _ENDINGS)
    home = Home.open(home_path)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with (
            interruptible(),
            console.status("starting the services") as status,
            some_services(home, SERVICES, console.print) as client,
            bringing_clips(client) as clips,
        ):
            use = part.use(clips.bring(part))
            found = client.people(use, lambda stages: tell(status, stages))
            if found.people:
                client.save(f"/v1/clips/{use.clip_id}/people/sheet", sheet, **part_of(use))
    except KeyboardInterrupt:
        raise Cancelled("stopped; the same command goes on where it stopped") from None
    if as_json:
        document = found.model_dump(mode="json") | {"sheet": str(sheet) if found.people else ""}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        _report(found, sheet)


def _report(found: ClipPeople, sheet: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not found.people:
        console.print(f"nobody is seen in any of the {found.frame_count} frames")
        return
    rate = found.frame_rate.numerator / found.frame_rate.denominator
    table = Table(box=None)
    for heading in ("number", "seen in frames", "from", "to", "size", "where"):
        table.add_column(heading, justify="left" if heading == "where" else "right")
    for each in found.people:
        table.add_row(
            str(each.number),
            f"{each.frame_count} of {found.frame_count}",
            f"{each.first_frame / rate:.1f} s",
            f"{(each.last_frame + 1) / rate:.1f} s",
            f"{each.size_px:.0f} px",
            f"{each.place}, about {each.box.x + each.box.width // 2},{each.box.y + each.box.height // 2}",
        )
    console.print(table)
    console.print(f"{sheet}: number 1 is followed unless --source-person or --target-person says another", markup=False)
