"""What a person, or a machine, sees of a transfer at work."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.resources import StageProgress, StageState, Transfer

_BAR_CELLS = 24


def duration(seconds: float) -> str:
    """For people: "8 s", "3:05", "1:02:09"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Display(Protocol):
    """Shows transfers as they change, and lines in between."""

    def show(self, transfer: Transfer) -> None: ...
    def line(self, text: str) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TerminalDisplay:
    """A table of stages that redraws itself; where there is no terminal, a line when a stage ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._ended: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def show(self, transfer: Transfer) -> None:
        if self._live is not None:
            self._live.update(_table(transfer))
        for stage in transfer.stages:
            if stage.state is StageState.SUCCEEDED and (stage.role, stage.stage) not in self._ended:
                self._ended.add((stage.role, stage.stage))
                if self._live is None:
                    self.line(f"{stage.stage} ({stage.role}): {stage.total} {stage.unit}, {_took(stage)}"
                              f"; {_remaining(transfer)}")  # fmt: skip


class JsonDisplay:
    """One JSON object a line on standard output: {"event": "transfer" | "message", ...}."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def line(self, text: str) -> None:
        self.emit("message", message=text)

    def show(self, transfer: Transfer) -> None:
        document = transfer.model_dump(mode="json", exclude={"artifacts"})
        self.emit("transfer", transfer=document)

    def emit(self, event: str, **fields: object) -> None:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def _table(transfer: Transfer) -> Table:
    table = Table.grid(padding=(0, 2))
    for stage in transfer.stages:
        table.add_row(f"{stage.stage}", f"[dim]{stage.role}[/]", _bar(stage), _count(stage), _took(stage))
    table.add_row("", "", "", "", f"[bold]{duration(transfer.elapsed_seconds)}, {_remaining(transfer)}[/]")
    return table


def _bar(stage: StageProgress) -> Text:
    if stage.state is StageState.SUCCEEDED:
        return Text("━" * _BAR_CELLS, style="green")
    share = stage.done / stage.total if stage.total else 0.0
    full = min(_BAR_CELLS, int(share * _BAR_CELLS))
    return Text("━" * full, style="cyan") + Text("━" * (_BAR_CELLS - full), style="dim")


def _count(stage: StageProgress) -> str:
    if stage.state is StageState.PENDING:
        return "[dim]waits[/]"
    return f"{stage.done}/{stage.total or '?'} {stage.unit}"


def _took(stage: StageProgress) -> str:
    return "" if stage.state is StageState.PENDING else duration(stage.elapsed_seconds)


def _remaining(transfer: Transfer) -> str:
    if transfer.remaining_seconds < 0:
        return "remaining time not yet known"
    return f"about {duration(transfer.remaining_seconds)} to go"
