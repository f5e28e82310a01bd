"""Photographs, as phones leave them."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def write_photo(path: Path, picture: NDArray[np.uint8], orientation: int = 0) -> Path:
    """Writes RGB (H, W, 3) by the path's suffix; a JPEG may say by EXIF how it is to be turned (6: clockwise)."""
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    data = encoded.tobytes()
    if orientation:
        # One directory of one entry: tag 0x0112, a short.
        tiff = b"MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
        body = b"Exif\x00\x00" + tiff
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    path.write_bytes(data)
    return path
