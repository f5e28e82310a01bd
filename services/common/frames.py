"""The pictures of frame shards and matte shards: compressed and written, read and decoded, by OpenCV.

How the shards are laid out is in `shards`, which needs no OpenCV: the downloader has none, and writes frames by its own
encoder, to the same bytes. A picture that cannot be decoded is skipped and counted; a tar that is cut short or whose
headers are damaged raises DataCorrupted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from services.common.artifacts import Artifacts
from services.common.errors import DataCorrupted
from services.common.shards import (
    FRAMES_NAME,
    JPEG_QUALITY,
    ShardEntry,
    frame_name,
    frame_number,
    matte_name,
    shard_entries,
    write_encoded,
)
from services.common.tar import read_tar

Image = npt.NDArray[np.uint8]
"""(H, W, 3) RGB for frames, (H, W) for mattes."""
Reduction = Literal[1, 2, 4, 8]
"""Decode at 1/n of the size; JPEG does this almost for nothing."""

_JPEG_OPTIONS = (
    cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)  # fmt: skip
# Level 1 with run-length filtering: mattes are mostly flat, higher levels cost time and save little.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_COLOUR_FLAGS: Final = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_GREY_FLAGS: Final = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def encode_frame(image: Image) -> bytes:
    """JPEG bytes of one (H, W, 3) RGB uint8 frame."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG_OPTIONS)
    return data.tobytes()


def encode_matte(matte: Image) -> bytes:
    """PNG bytes of one (H, W) uint8 alpha."""
    _, data = cv2.imencode(".png", matte, _PNG_OPTIONS)
    return data.tobytes()


def decode_image(data: bytes, name: str, reduction: Reduction = 1) -> Image | None:
    """The picture of one member, RGB or grey by its name's ending; None when it cannot be decoded."""
    if not data:
        return None
    grey = name.endswith(".png")
    flags = (_GREY_FLAGS if grey else _COLOUR_FLAGS)[reduction]
    # OpenCV's stubs do not say that a damaged picture gives None.
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        return None
    result: Image = image if grey or reduction == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return result


def write_frames(file: Path | BinaryIO, frames: Iterable[tuple[int, Image]]) -> int:
    """Writes a frame shard of (frame index, RGB uint8 (H, W, 3)) pairs as they come. Returns how many."""
    return write_encoded(file, ((frame_name(index), encode_frame(image)) for index, image in frames))


def write_mattes(file: Path | BinaryIO, mattes: Iterable[tuple[int, Image]]) -> int:
    """Writes a matte shard of (frame index, alpha uint8 (H, W)) pairs as they come. Returns how many."""
    return write_encoded(file, ((matte_name(index), encode_matte(matte)) for index, matte in mattes))


@dataclass
class ReadCounts:
    """Filled while shards are read."""

    read: int = 0
    damaged: int = 0


def read_shard(path: Path, reduction: Reduction = 1, counts: ReadCounts | None = None) -> Iterator[tuple[int, Image]]:
    """(frame index, picture) of a frame shard (RGB) or a matte shard (grey), one decoded at a time.

    Pictures that cannot be decoded are left out and counted in `counts.damaged`. Raises DataCorrupted when the tar
    itself is damaged.
    """
    counts = counts if counts is not None else ReadCounts()
    for member in read_tar(path):
        index = frame_number(member.name, path)
        image = decode_image(member.data, member.name, reduction)
        if image is None:
            counts.damaged += 1
        else:
            counts.read += 1
            yield index, image


@dataclass(frozen=True)
class _OpenShard:
    path: Path
    members: Mapping[int, tuple[str, int, int]]
    """Frame index -> (name, offset, size)."""


_KEPT_SHARDS = 64


class FrameReader:
    """Any picture of a run of shards by its number, or all of them in order.

    A shard's checksum is verified and its table read once; no decoded picture is kept, so one frame costs one seek
    and one decode. Not to be shared between threads.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        shards: Iterable[ShardEntry],
        *,
        object_name: str = FRAMES_NAME,
        reduction: Reduction = 1,
    ) -> None:
        self._artifacts = artifacts
        self._shards = sorted(shards, key=lambda shard: shard.first_frame)
        self._object_name = object_name
        self._reduction: Reduction = reduction
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self.counts = ReadCounts()

    @classmethod
    def of_clip(cls, artifacts: Artifacts, facts: Mapping[str, Any], *, reduction: Reduction = 1) -> FrameReader:
        """The frames of a clip, from its facts."""
        return cls(artifacts, shard_entries(facts), reduction=reduction)

    def __len__(self) -> int:
        """One more than the last frame's number."""
        return self._shards[-1].first_frame + self._shards[-1].frame_count if self._shards else 0

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """(frame index, picture) over all shards in order; damaged pictures are left out and counted."""
        return self.frames(0, len(self))

    def frames(self, first: int, last: int) -> Iterator[tuple[int, Image]]:
        """(frame index, picture) for first <= index < last, in order."""
        for shard in self._shards:
            if shard.first_frame >= last or shard.first_frame + shard.frame_count <= first:
                continue
            opened = self._opened(shard)
            for index in sorted(opened.members):
                if first <= index < last:
                    image = self._decode(opened, index)
                    self.counts.read += image is not None
                    self.counts.damaged += image is None
                    if image is not None:
                        yield index, image

    def frame(self, index: int) -> Image:
        """One picture. Raises IndexError when the clip has no such frame, DataCorrupted when it is damaged."""
        shard = next((s for s in self._shards if s.first_frame <= index < s.first_frame + s.frame_count), None)
        if shard is None:
            raise IndexError(f"frame {index} is outside 0..{len(self) - 1}")
        opened = self._opened(shard)
        image = self._decode(opened, index) if index in opened.members else None
        if image is None:
            raise DataCorrupted(
                f"frame {index} is missing or cannot be decoded", object=self._object_name, frame=index,
                kind=shard.artifact.kind, key=shard.artifact.key,
            )  # fmt: skip
        return image

    def _decode(self, shard: _OpenShard, index: int) -> Image | None:
        name, offset, size = shard.members[index]
        with shard.path.open("rb") as file:
            file.seek(offset)
            return decode_image(file.read(size), name, self._reduction)

    def _opened(self, shard: ShardEntry) -> _OpenShard:
        opened = self._open.get(shard.first_frame)
        if opened is None or not opened.path.exists():
            path = self._artifacts.open(shard.artifact).local_path(self._object_name)
            members = {frame_number(m.name, path): (m.name, m.offset, len(m.data)) for m in read_tar(path)}
            opened = self._open[shard.first_frame] = _OpenShard(path, members)
        self._open.move_to_end(shard.first_frame)
        if len(self._open) > _KEPT_SHARDS:
            self._open.popitem(last=False)
        return opened
