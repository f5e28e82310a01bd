"""What is behind the performer, in the words of the user, and what the renderer needs for it.

    ""  plate         the target's own empty place
    colour:#rrggbb    one colour
    transparent       nothing; the result is webm or png
    source            the source's place without its dancer, the performer where the dancer stood
    clip:ID           a picture, or a video in a loop

The camera is steady, or moves as the target's did (over the target's place), or the source's (over the source's).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.v1 import renderer_pb2

from gateway.board import BACKGROUND, SOURCE
from gateway.messages import to_message
from gateway.results import Study
from services.common.errors import InvalidOption

FORMS = "plate, colour:#rrggbb, transparent, source, or a picture or video"
CAMERAS = ("steady", "target", "source")
ALPHA_FORMATS = ("webm", "png")

_COLOUR = re.compile(r"colou?r:#?([0-9a-f]{6})")
_CLIP = re.compile(r"clip:([0-9A-Za-z_-]{1,64})")
_CAMERA_OF = {"plate": "target", "source": "source"}


@dataclass(frozen=True)
class Wanted:
    """kind: "plate", "colour", "transparent", "source" or "clip". colour: #rrggbb."""

    kind: str = "plate"
    colour: str = ""
    clip_id: str = ""

    def __str__(self) -> str:
        ending = self.colour or self.clip_id
        return f"{self.kind}:{ending}" if ending else "" if self.kind == "plate" else self.kind


def parse_background(text: str) -> Wanted:
    """Raises InvalidOption, naming the forms, for anything else."""
    words = text.strip()
    if words.lower() in {"", "plate", "transparent", "source"}:
        return Wanted(words.lower() or "plate")
    if match := _COLOUR.fullmatch(words.lower()):
        return Wanted("colour", colour=f"#{match[1]}")
    if match := _CLIP.fullmatch(words):
        return Wanted("clip", clip_id=match[1])
    raise InvalidOption(f"no background {text!r}: give {FORMS}", background=text)


def check_together(background: str, camera: str, formats: Sequence[str]) -> None:
    """Raises InvalidOption for what cannot be had at once."""
    wanted = parse_background(background)
    if camera not in {"", *CAMERAS}:
        raise InvalidOption(f"no camera {camera!r}: choose one of {', '.join(CAMERAS)}", camera=camera)
    if camera not in {"", "steady", _CAMERA_OF.get(wanted.kind)}:
        needed = "the background source" if camera == "source" else "the target's place as background"
        raise InvalidOption(f"the {camera}'s camera needs {needed}: leave the camera steady", camera=camera)
    wrong = [each for each in formats if each not in ALPHA_FORMATS]
    if wanted.kind == "transparent" and wrong:
        raise InvalidOption(f"{wrong[0]} cannot be transparent: choose webm, or png (a zip)", format=wrong[0])


def further_stages(background: str) -> list[tuple[str, str]]:
    """(role, stage) of what a background takes beyond a plain transfer."""
    kind = parse_background(background).kind
    if kind == "source":
        return [(SOURCE, "segmentation"), (SOURCE, "plate")]
    return [(BACKGROUND, "download")] if kind == "clip" else []


def to_background(background: str, camera: str, source: Study, target: Study) -> renderer_pb2.Background | None:
    """What the renderer is told; None is the target's plate, seen by a steady camera."""
    wanted = parse_background(background)
    moving = camera not in {"", "steady"}
    if wanted.kind == "plate" and not moving:
        return None
    message = renderer_pb2.Background(kind="scene" if wanted.kind == "source" else wanted.kind, colour=wanted.colour)
    if source.backdrop is not None:
        shown = message.clip if wanted.kind == "clip" else message.plate
        shown.CopyFrom(to_message(source.backdrop))
    if wanted.kind == "source":
        message.source_track.CopyFrom(to_message(source.track))
        message.source_camera.CopyFrom(to_message(source.camera))
    if moving:
        filmed = source if wanted.kind == "source" else target
        message.camera.CopyFrom(to_message(filmed.camera))
        message.camera_clip.CopyFrom(to_message(filmed.clip))
    if moving or wanted.kind == "clip":
        message.source_clip.CopyFrom(to_message(source.clip))
    return message
