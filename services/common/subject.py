"""Whom to follow, in the words of the user.

    ""  largest  1              the person who is largest, for longest
    2  3  ...                   by the number on the contact sheet (`understudy people`)
    left  right                 of those who are there for a good part of the time
    X,Y  X,Y@FRAME              at a point, px, in a frame of the part that is used, or in the first
                                that shows anybody there

Each has one spelling, `str(subject)`, so that the same wish names the same artifacts; "index:N" (N from 0) and
"point:X,Y@FRAME" are that spelling of numbers and points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.common.errors import InvalidOption

FORMS = "largest, left, right, a number as `understudy people` shows it, X,Y or X,Y@FRAME"

_PLACE = r"-?\d+(?:\.\d+)?"
_NUMBER = re.compile(r"[1-9]\d{0,3}")
_INDEX = re.compile(r"index:(\d{1,4})")
_POINT = re.compile(rf"(?:point:)?\s*({_PLACE})\s*,\s*({_PLACE})\s*(?:@\s*(\d{{1,9}}))?")


@dataclass(frozen=True)
class Subject:
    """side: "left", "right" or neither. index: by presence, from 0. point: px. frame: None is any."""

    side: str = ""
    index: int = 0
    point: tuple[float, float] | None = None
    frame: int | None = None

    def __str__(self) -> str:
        if self.point is not None:
            x, y = self.point
            return f"point:{x:g},{y:g}" + ("" if self.frame is None else f"@{self.frame}")
        return self.side or (f"index:{self.index}" if self.index else "")


def parse_subject(text: str) -> Subject:
    """Raises InvalidOption, naming the forms, for anything else."""
    words = text.strip().lower()
    if words in {"", "largest"}:
        return Subject()
    if words in {"left", "right"}:
        return Subject(side=words)
    if _NUMBER.fullmatch(words):
        return Subject(index=int(words) - 1)
    if match := _INDEX.fullmatch(words):
        return Subject(index=int(match[1]))
    if match := _POINT.fullmatch(words):
        frame = None if match[3] is None else int(match[3])
        return Subject(point=(float(match[1]), float(match[2])), frame=frame)
    raise InvalidOption(f"nobody is described by {text!r}; give {FORMS}", subject=text)
