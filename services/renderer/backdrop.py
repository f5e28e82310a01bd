"""What a result shows behind the performer and through which camera, as a request says it.

kind           camera              behind the performer
plate          steady, or a path   the target's own empty place
colour         steady              one colour
transparent    steady              nothing: colour and alpha are kept apart
clip           steady              a picture, or a video in a loop, scaled to cover the frame
scene          steady, or a path   the source's place without its dancer; the performer stands where the dancer did
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.artifacts import JSON, ArtifactRef
from services.common.errors import InvalidOption

KINDS: Final = ("plate", "colour", "transparent", "clip", "scene")
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")

# The references that each kind takes, apart from the camera's.
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "plate": (), "colour": (), "transparent": (), "clip": ("clip", "source_clip"),
    "scene": ("plate", "source_track", "source_camera"),
}  # fmt: skip
_MOVING: Final = ("camera", "camera_clip", "source_clip")


@dataclass(frozen=True)
class Backdrop:
    """References that the kind does not need are None. Raises InvalidOption for what does not fit together.

    clip: picture or video. plate, source_track, source_camera: the source's, for a scene. camera: the camera_path
    whose motion the result gets, of `camera_clip`; None is steady. source_clip: gives the rate of the dance.
    """

    kind: str = "plate"
    colour: str = ""
    clip: ArtifactRef | None = None
    plate: ArtifactRef | None = None
    source_track: ArtifactRef | None = None
    source_camera: ArtifactRef | None = None
    camera: ArtifactRef | None = None
    camera_clip: ArtifactRef | None = None
    source_clip: ArtifactRef | None = None

    @property
    def has_floor(self) -> bool:
        """Whether it shows a place that the performer stands in and casts a shadow on."""
        return self.kind in {"plate", "scene"}

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidOption(f"no background {self.kind!r}; there are {', '.join(KINDS)}", kind=self.kind)
        if (self.kind == "colour") != bool(self.colour) or (self.colour and not _COLOUR.fullmatch(self.colour)):
            raise InvalidOption(f"a colour is #rrggbb, with the background colour alone, not {self.colour!r}")
        if self.camera is not None and self.kind not in {"plate", "scene"}:
            raise InvalidOption(f"a moving camera goes with the target's or the source's place, not with {self.kind}")
        missing = [name for name in self._names() if getattr(self, name) is None]
        if missing:
            raise InvalidOption(f"the background {self.kind} needs {', '.join(missing)}", kind=self.kind)

    def _names(self) -> tuple[str, ...]:
        moving = _MOVING if self.camera is not None else ()
        return tuple(dict.fromkeys((*_NEEDS[self.kind], *moving)))

    def inputs(self) -> dict[str, ArtifactRef | Sequence[ArtifactRef]]:
        """The references that decide the picture; none for the plate seen by a steady camera."""
        return {f"background_{name}": getattr(self, name) for name in self._names()}

    def options(self) -> dict[str, JSON]:
        """What else decides it; nothing for the plate."""
        options: dict[str, JSON] = {} if self.kind == "plate" else {"background": self.kind}
        return options | ({"colour": self.colour} if self.colour else {})


PLATE: Final = Backdrop()
"""The target's empty place, seen by a steady camera."""
