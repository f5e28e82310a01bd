"""Numbered PNGs in a zip, for programs that composite: every bit of colour and alpha as it is."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from services.common.video.colour import RGB

# The first moment that a zip can name: files of the same pictures are the same bytes.
_NEVER = (1980, 1, 1, 0, 0, 0)
_HEADER_BYTES = 8 + 25  # signature and IHDR
_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 3)


def write_pictures(frames: Iterable[RGB], path: Path, rate: Fraction, *, synthetic: str = "") -> tuple[int, int]:
    """Writes RGB (H, W, 3) or RGBA (H, W, 4) uint8 frames as 000000.png, ... and about.json. Returns width and height.

    RGBA is colour that is not multiplied by alpha. `synthetic` is a sentence that each picture's metadata says too.
    """
    size, count = (0, 0), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for count, frame in enumerate(frames, start=1):
            size = (frame.shape[1], frame.shape[0])
            archive.writestr(zipfile.ZipInfo(f"{count - 1:06d}.png", _NEVER), _png(frame, synthetic))
        about = {
            "frame_count": count, "width": size[0], "height": size[1], "alpha": "straight",
            "frame_rate": f"{rate.numerator}/{rate.denominator}", "comment": synthetic,
        }  # fmt: skip
        archive.writestr(zipfile.ZipInfo("about.json", _NEVER), json.dumps(about, indent=2) + "\n")
    return size


def _png(frame: RGB, comment: str) -> bytes:
    order = cv2.COLOR_RGBA2BGRA if frame.shape[2] == 4 else cv2.COLOR_RGB2BGR
    data: Any = cv2.imencode(".png", cv2.cvtColor(frame, order), _OPTIONS)[1].tobytes()
    if not comment:
        return bytes(data)
    chunk = b"iTXtComment\0\0\0\0\0" + comment.encode()
    text = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return bytes(data[:_HEADER_BYTES] + text + data[_HEADER_BYTES:])
