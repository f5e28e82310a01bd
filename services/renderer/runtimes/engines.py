"""What TensorRT has built, kept on disk: a folder a performer and window size, all of them below one folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

# Each is about as large as the network.
_KEPT = 16


def engine_folder(above: Path, network: bytes, variant: str) -> Path:
    """Where the engine of a network is, or would be.

    The network's bytes are in the name: TensorRT's own file names tell graphs apart, not weights, so that two
    performers in one folder would be given each other's engine.
    """
    return above / f"{hashlib.sha256(network).hexdigest()}-{variant}"


def make_engine_folder(folder: Path) -> None:
    """Makes it when it is not there. Of many, those longest unused are removed. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for old in sorted(folder.parent.iterdir(), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
