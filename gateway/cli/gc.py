"""`understudy gc`: deletes what nothing uses, where store and database are."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.cli.home import Home
from gateway.cli.resources import HomeOption, JsonOption
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.housekeeping import Housekeeping, Swept
from services.common.artifacts import Artifacts

gc_app = typer.Typer(help="Deletes what nothing uses, and what has been kept for long enough.")


@gc_app.callback(invoke_without_command=True)
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    grace_seconds: Annotated[float, typer.Option(min=0, help="Touch nothing younger than this.")] = 86_400.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sweeps the home folder; or, beside a gateway's own UNDERSTUDY_* variables, its bucket and database."""
    settings = _settings(home, grace_seconds)
    database = Database(settings.database_url)
    try:
        with tempfile.TemporaryDirectory() as cache:
            artifacts = Artifacts(settings.open_store(), Path(cache))
            swept = Housekeeping(settings, database, artifacts).sweep(dry_run=dry_run)
    finally:
        database.close()
    typer.echo(json.dumps(swept.to_json()) if as_json else _said(swept, dry_run=dry_run))


def _settings(home: Path | None, grace_seconds: float) -> GatewaySettings:
    if home is None:
        try:
            return GatewaySettings(gc_grace_seconds=grace_seconds)  # filled from the environment
        except ValidationError:
            pass  # not beside a gateway
    opened = Home.open(home)
    return GatewaySettings(
        store_url=opened.store.as_uri(), database_url=opened.database_url, gc_grace_seconds=grace_seconds
    )


def _said(swept: Swept, *, dry_run: bool) -> str:
    counts = swept.counts()
    size = counts.pop("size_bytes")
    what = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
    return f"{'would delete' if dry_run else 'deleted'} {what} ({size:,} bytes)"
