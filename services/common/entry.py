"""What a process does when it cannot start: one line that says what to change, instead of a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from pydantic import ValidationError

from services.common.errors import InvalidInput, UnderstudyError
from services.common.settings import ServiceSettings

_FAILED, _USAGE = 1, 2
_SETTINGS = "Settings"


def enter(main: Callable[[], None]) -> None:
    """Runs a process's `main`: settings that cannot be, errors of ours and a port that is taken end it with one line
    on standard error; anything else is a fault of ours, and keeps its traceback.

    The exit code is 2 where a setting has to change, else 1. Values of settings are never printed: they may be secrets.
    """
    try:
        main()
    except ValidationError as error:
        if not error.title.endswith(_SETTINGS):
            raise
        _end("; ".join(_setting(each["loc"], each["msg"]) for each in error.errors(include_input=False)), _USAGE)
    except UnderstudyError as error:
        _end(error.message, _USAGE if isinstance(error, InvalidInput) else _FAILED)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _end(error.strerror, _FAILED)


def _setting(place: tuple[int | str, ...], message: str) -> str:
    prefix = ServiceSettings.model_config["env_prefix"]
    return f"{prefix}{'.'.join(map(str, place))}".upper() + f": {message}"


def _end(line: str | None, code: int) -> None:
    sys.stderr.write(f"cannot start: {line}\n")
    raise SystemExit(code)
