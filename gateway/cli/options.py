"""Options of `understudy transfer` that are more than a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.backgrounds import check_together, parse_background
from gateway.cli.transfer import Part
from gateway.resources import TransferOptions
from services.common.errors import InvalidOption, ResourceNotFound
from services.common.subject import parse_subject


def with_background(text: str, options: dict[str, Any]) -> tuple[Part | None, TransferOptions]:
    """The picture or video that --background names, or None, and the options with it. Raises InvalidOption."""
    part = Part(text) if text.startswith(("http://", "https://")) or Path(text).is_file() else None
    if part is None and ":" not in text and Path(text).suffix:
        raise ResourceNotFound(f"--background {text}: no such file", path=text)
    word = "" if part is not None else str(parse_background(text))
    check_together(word if part is None else "clip:file", options["camera"], options["formats"])
    return part, TransferOptions.model_validate({**options, "background": word})


def person(option: str, text: str) -> str:
    """Whom to follow, in its one spelling. Raises InvalidOption naming the option."""
    try:
        return str(parse_subject(text))
    except InvalidOption as error:
        raise InvalidOption(f"{option} {text}: {error.message}", option=option) from error
