"""`understudy keys`: API keys, made and ended where the database is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.home import Home
from gateway.cli.resources import HomeOption, JsonOption
from gateway.database import Database
from gateway.keys import Key, Keys

DatabaseOption = Annotated[
    str, typer.Option("--database-url", envvar="UNDERSTUDY_DATABASE_URL", help="Instead of the home folder's.")
]
KeyArgument = Annotated[str, typer.Argument(help="The key's id.")]

keys_app = typer.Typer(no_args_is_help=True, help="API keys of a gateway that asks for them.")


@contextlib.contextmanager
def _keys(home: Path | None, database_url: str) -> Iterator[Keys]:
    database = Database(database_url or Home.open(home).database_url)
    try:
        yield Keys(database.engine)
    finally:
        database.close()


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom or what it is for.")],
    scope: Annotated[list[str], typer.Option(help="read, write or admin; give it again for more.")] = ["write"],  # noqa: B006 - typer's way
    transfers: Annotated[int, typer.Option(min=0, help="Most transfers under way at once; 0 is any number.")] = 0,
    upload_bytes: Annotated[int, typer.Option(min=0, help="Most bytes uploaded a day (UTC); 0 is any number.")] = 0,
    home: HomeOption = None,
    database_url: DatabaseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Makes a key and shows it, once."""
    with _keys(home, database_url) as keys:
        _tell(*keys.create(name, scope, transfers_at_once=transfers, upload_bytes_a_day=upload_bytes), as_json=as_json)


@keys_app.command("rotate")
def rotate(
    key_id: KeyArgument,
    overlap_seconds: Annotated[float, typer.Option(min=0, help="How long the old secret stays valid.")] = 3600.0,
    home: HomeOption = None,
    database_url: DatabaseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Gives a key a new secret."""
    with _keys(home, database_url) as keys:
        _tell(*keys.rotate(key_id, overlap_seconds), as_json=as_json)


@keys_app.command("list")
def list_all(home: HomeOption = None, database_url: DatabaseOption = "", as_json: JsonOption = False) -> None:
    """All keys, without their secrets."""
    with _keys(home, database_url) as keys:
        found = keys.list()
    if as_json:
        typer.echo(json.dumps([key.public() for key in found]))
        return
    table = Table(box=None)
    for heading in ("id", "name", "may", "transfers at once", "bytes a day", "made"):
        table.add_column(heading, no_wrap=heading == "id")
    for key in found:
        limits = (f"{limit:,}" if limit else "any" for limit in (key.transfers_at_once, key.upload_bytes_a_day))
        table.add_row(key.id, key.name, " ".join(key.scopes), *limits, key.create_time)
    Console().print(table if found else "no keys yet")


@keys_app.command("revoke")
def revoke(key_id: KeyArgument, home: HomeOption = None, database_url: DatabaseOption = "") -> None:
    """Ends a key; gateways hear of it within five seconds."""
    with _keys(home, database_url) as keys:
        keys.revoke(key_id)
    typer.echo(f"revoked {key_id}")


def _tell(key: Key, text: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**key.public(), "key": text}))
        return
    typer.echo(text)
    typer.echo(f"{key.name} ({key.id}) may {' and '.join(key.scopes)}. The key is not shown again.", err=True)
