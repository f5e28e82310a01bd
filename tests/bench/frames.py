"""Frames for the plain script: decoded from the video file, in the shapes that the algorithms ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from services.segmentation.clip import is_subject
from services.segmentation.hiding import hidden_by
from services.segmentation.people import silhouette
from services.segmentation.plate import sample_frames

Image = NDArray[np.uint8]

_MEASURED_SIDE_PX = 960  # as segmentation reduces what the camera is measured on
_OTHERS_GROW = 1.3  # as segmentation widens the silhouettes of people who are not the subject


def decode(path: Path, count: int) -> Iterator[tuple[int, VideoFrame]]:
    """(index, picture as the decoder left it) of the first `count` frames; 0 is all."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield from islice(enumerate(container.decode(stream)), count or None)


def rgb(picture: VideoFrame) -> Image:
    """uint8 (H, W, 3), as PyAV converts it."""
    return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)


class DecodedFrames(Sequence[Image]):
    """RGB frames, decoded when they are first asked for and kept."""

    def __init__(self, path: Path, count: int) -> None:
        self._count, self._coming, self._kept = count, decode(path, count), list[Image]()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | list[Image]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        while len(self._kept) <= index:
            _, picture = next(self._coming)
            self._kept.append(rgb(picture))
        return self._kept[index]


class GrayFrames:
    """Reduced grey frames: see `services.segmentation.registration.GrayFrames`."""

    def __init__(self, path: Path, count: int) -> None:
        self._kept: list[Image] = []
        for _, picture in decode(path, count):
            self.width, self.height = picture.width, picture.height
            side = max(self.width, self.height)
            part = next((each for each in (1, 2, 4) if side <= each * _MEASURED_SIDE_PX), 8)
            small = picture.reformat(-(-self.width // part), -(-self.height // part), "gray")
            self._kept.append(np.asarray(small.to_ndarray(), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self._kept)

    def gray(self, index: int) -> Image:
        return self._kept[index]


class SampledFrames:
    """Frames and what hides their background: see `services.segmentation.plate.PlateFrames`."""

    def __init__(self, path: Path, mattes: list[Image], people: list[list[NDArray[np.float32]]]) -> None:
        self._mattes, self._people = mattes, people
        self.height, self.width = mattes[0].shape
        wanted = set(sample_frames(len(mattes)))
        self._kept: dict[int, Image] = {
            index: rgb(picture) for index, picture in decode(path, len(mattes)) if index in wanted
        }

    def __len__(self) -> int:
        return len(self._mattes)

    def rgb(self, index: int) -> Image:
        return self._kept[index]

    def hidden(self, index: int) -> Image:
        matte = self._mattes[index]
        others = [person for person in self._people[index] if not is_subject(person, matte)]
        return hidden_by([
            matte, *(silhouette(person, self.height, self.width, grow=_OTHERS_GROW) for person in others)
        ])  # fmt: skip
