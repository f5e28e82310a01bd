"""`understudy transfers|performers|clips`: what is kept, and its end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.client import GatewayClient
from gateway.cli.display import Display, JsonDisplay, TerminalDisplay, duration
from gateway.cli.home import Home
from gateway.cli.stack import Stack
from gateway.resources import Transfer

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder that holds all data.", envvar="UNDERSTUDY_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]
IdArgument = Annotated[str, typer.Argument(help="Its id, or a performer's name.")]


@contextlib.contextmanager
def open_gateway(home_path: Path | None) -> Iterator[GatewayClient]:
    """The gateway that is up, or one that only reads and deletes, for the time of the block."""
    home = Home.open(home_path)
    url = home.running_gateway()
    with contextlib.ExitStack() as stack:
        if not url:
            url = stack.enter_context(Stack(home, lambda _line: None, services=())).url
        client = GatewayClient(url)
        stack.callback(client.close)
        yield client


def _clip_row(each: dict[str, Any]) -> list[str]:
    return [each["id"], each["display_name"], f"{each['size_bytes']:,}", each["create_time"]]


def _performer_row(each: dict[str, Any]) -> list[str]:
    ssim = each["metrics"].get("person_ssim")
    return [each["id"], each["name"], each["preset"], "" if ssim is None else f"{ssim:.3f}", each["create_time"]]


def _transfer_row(each: dict[str, Any]) -> list[str]:
    failure = (each["failure"] or {}).get("reason", "")
    return [each["id"], each["state"], failure or each["stage"], duration(each["elapsed_seconds"]), each["create_time"]]


_COLUMNS = {
    "clips": (("id", "name", "bytes", "made"), _clip_row),
    "performers": (("id", "name", "preset", "person SSIM", "made"), _performer_row),
    "transfers": (("id", "state", "at", "took", "made"), _transfer_row),
}


def resource_app(kind: str) -> typer.Typer:
    """The sub-commands list, show and delete of one kind of resource."""
    app = typer.Typer(no_args_is_help=True, help=f"The {kind} that are kept.")
    headings, row = _COLUMNS[kind]

    @app.command("list")
    def list_all(home: HomeOption = None, as_json: JsonOption = False) -> None:
        """All of them, newest first."""
        with open_gateway(home) as client:
            found = list(client.pages(kind))
        if as_json:
            typer.echo(json.dumps(found))
            return
        table = Table(box=None)
        for heading in headings:
            table.add_column(heading, no_wrap=heading == "id")  # an id that is cut short cannot be used
        for each in found:
            table.add_row(*row(each))
        Console().print(table if found else f"no {kind} yet")

    @app.command("show")
    def show(resource_id: IdArgument, home: HomeOption = None) -> None:
        """One of them, as JSON."""
        with open_gateway(home) as client:
            typer.echo(json.dumps(client.get(f"/v1/{kind}/{resource_id}"), indent=2))

    @app.command("delete")
    def delete(resource_id: IdArgument, home: HomeOption = None) -> None:
        """Forgets it and deletes what nothing else uses."""
        with open_gateway(home) as client:
            client.delete(f"/v1/{kind}/{resource_id}")
        typer.echo(f"deleted {resource_id}")

    return app


def transfers_app() -> typer.Typer:
    """`understudy transfers`: also watch and cancel."""
    app = resource_app("transfers")

    @app.command("watch")
    def watch(resource_id: IdArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
        """Shows a transfer at work until it ends."""
        display: Display = JsonDisplay() if as_json else TerminalDisplay(Console(stderr=True))
        with open_gateway(home) as client, display:
            transfer: Transfer | None = None
            for transfer in client.watch(resource_id):
                display.show(transfer)
        if transfer is not None:
            typer.echo(transfer.state.value)

    @app.command("cancel")
    def cancel(resource_id: IdArgument, home: HomeOption = None) -> None:
        """Stops a transfer; what it finished is kept and used again."""
        with open_gateway(home) as client:
            typer.echo(client.cancel(resource_id).state.value)

    return app
