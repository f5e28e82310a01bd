"""Frames and thumbnails as JPEG, by Pillow.

Everywhere else OpenCV writes frames (`services.common.frames`). Pillow brings the same libjpeg-turbo and gives the same
bytes, and takes a seventh of OpenCV's room in this service's image, which needs nothing else of it.
"""

from __future__ import annotations

import io
import os
import sys
from typing import BinaryIO, Final

from PIL import Image

from services.common.shards import JPEG_QUALITY
from services.common.video import RGB

_THUMBNAIL_SIDE_PX: Final = 480
_THUMBNAIL_QUALITY: Final = 85
_FULL_CHROMA, _HALF_CHROMA = "4:4:4", "4:2:0"


def encode_frame(image: RGB) -> bytes:
    """JPEG bytes of one (H, W, 3) RGB uint8 frame: quality 95, full chroma, as shards have it."""
    return _encode(Image.fromarray(image), JPEG_QUALITY, _FULL_CHROMA)


def encode_thumbnail(image: RGB) -> bytes:
    """JPEG bytes of an (H, W, 3) RGB uint8 frame brought to 480 px on its longer side; never enlarged."""
    picture = Image.fromarray(image)
    scale = min(1.0, _THUMBNAIL_SIDE_PX / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    # Each pixel averages those that it covers, with soft edges, so that lines keep their width at uneven ratios.
    small = picture.resize((width, height), Image.Resampling.HAMMING)
    return _encode(small, _THUMBNAIL_QUALITY, _HALF_CHROMA)


def _encode(picture: Image.Image, quality: int, chroma: str) -> bytes:
    with _file_in_memory() as file:
        picture.save(file, "jpeg", quality=quality, subsampling=chroma)
        file.seek(0)
        return file.read()


def _file_in_memory() -> BinaryIO:
    """Where one picture is written.

    Pillow lets other threads run meanwhile only when the file is the system's own; where that has none in memory, they
    take turns.
    """
    if sys.platform != "linux":
        return io.BytesIO()
    return open(os.memfd_create("jpeg"), "w+b", buffering=0)  # noqa: PTH123 - it has no path
