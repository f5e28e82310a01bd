"""Frame shards and matte shards: runs of pictures in one tar, named by frame number (WebDataset's layout).

    frames.tar    00000064.jpg 00000065.jpg ...    RGB, JPEG quality 95, full chroma (4:4:4)
    mattes.tar    00000064.png 00000065.png ...    8-bit grey: the subject's alpha, 255 is the person

The name is the frame's number in its clip; pictures are paired by it, never by their order. The same pictures always
give the same bytes. This is the layout; `frames` has the pictures themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from services.common.artifacts import ArtifactRef
from services.common.errors import DataCorrupted
from services.common.tar import TarWriter

FRAMES_PER_SHARD: Final = 64
JPEG_QUALITY: Final = 95
FRAMES_NAME: Final = "frames.tar"
MATTES_NAME: Final = "mattes.tar"

_NAME = re.compile(r"^(\d{8,})\.(jpg|png)$")


def shard_of(frame_index: int) -> int:
    """Number of the shard that holds a frame."""
    return frame_index // FRAMES_PER_SHARD


def frame_name(index: int) -> str:
    """Member name of a frame."""
    return f"{index:08d}.jpg"


def matte_name(index: int) -> str:
    """Member name of a matte."""
    return f"{index:08d}.png"


def frame_number(name: str, path: Path) -> int:
    """The frame that a member of the shard at `path` is of. Raises DataCorrupted when its name is no frame's."""
    match = _NAME.match(name)
    if match is None:
        raise DataCorrupted(f'{path.name} holds "{name}", which is no frame', object=path.name, member=name)
    return int(match.group(1))


def write_encoded(file: Path | BinaryIO, members: Iterable[tuple[str, bytes]]) -> int:
    """Writes a shard of (member name, its JPEG or PNG bytes). Returns how many."""
    if isinstance(file, Path):
        with file.open("wb") as opened:
            return write_encoded(opened, members)
    writer, count = TarWriter(file), 0
    for name, data in members:
        writer.add(name, data)
        count += 1
    writer.close()
    return count


@dataclass(frozen=True)
class ShardEntry:
    """Where a run of pictures is: the artifact, its first frame and their number."""

    artifact: ArtifactRef
    first_frame: int
    frame_count: int


def shard_entries(facts: Mapping[str, Any]) -> list[ShardEntry]:
    """The shards of a clip, in order, from the clip's facts."""
    return [
        ShardEntry(ArtifactRef(**shard["artifact"]), int(shard["first_frame"]), int(shard["frame_count"]))
        for shard in facts["shards"]
    ]
