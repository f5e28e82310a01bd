"""Options of `understudy transfer` that are more than a value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.backgrounds import check_together, parse_background
from gateway.cli.transfer import Part
from gateway.resources import TransferOptions, invalid_input
from services.common.errors import InvalidOption, ResourceNotFound
from services.common.subject import parse_subject


def with_background(text: str, options: dict[str, Any]) -> tuple[Part | None, TransferOptions]:
    """The picture or video that --background names, or None, and the options with it.

    Raises InvalidOption, and ResourceNotFound where no such file is.
    """
    part = Part(text) if text.startswith(("http://", "https://")) or Path(text).is_file() else None
    if part is None and ":" not in text and Path(text).suffix:
        raise ResourceNotFound(f"--background {text}: no such file", path=text)
    word = "" if part is not None else str(parse_background(text))
    behind = word if part is None else "clip:file"  # the clip's id is known once it was brought in
    check_together(behind, options["camera"], options["formats"])
    try:
        checked = TransferOptions.model_validate({**options, "background": behind})
    except ValidationError as error:
        raise InvalidOption(invalid_input(error.errors()).message) from error
    return part, checked.model_copy(update={"background": word})


_SECONDS = {"s": 1, "m": 60, "h": 3600}
FORMS_OF_TIME = "90s, 20m or 1.5h"


def training_seconds(text: str, iterations: int, performer: str, preset: str) -> float:
    """Seconds of a --time-budget such as 20m; nothing is 0. Raises InvalidOption, also beside what contradicts it."""
    if not text:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or not float(found[1]):
        raise InvalidOption(f"--time-budget {text}: not a time; write it as {FORMS_OF_TIME}", option="--time-budget")
    if iterations or performer or preset == "draft":
        raise InvalidOption(
            "--time-budget says how long to train: it does not go with --iterations, with a --performer (trained "
            "already) or with --preset draft (not trained)", option="--time-budget",
        )  # fmt: skip
    return float(found[1]) * _SECONDS[found[2]]


def person(option: str, text: str) -> str:
    """Whom to follow, in its one spelling. Raises InvalidOption naming the option."""
    try:
        return str(parse_subject(text))
    except InvalidOption as error:
        raise InvalidOption(f"{option} {text}: {error.message}", option=option) from error
