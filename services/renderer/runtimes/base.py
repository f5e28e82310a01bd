"""What every runtime of performers' networks is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Network(Protocol):
    """A performer's network at one window size. Not for several threads at once.

    batch: poses of every call. goes_on: whether it is given the picture before.
    """

    batch: int
    goes_on: bool

    def __call__(self, keypoints: Floats, previous: Floats) -> Floats:
        """Colour and alpha.

        keypoints: float32 (batch, 133, 3), window px. previous: float32 (1, 3, height, width) in -1..1, the picture
        before; one that does not go on does not look at it.

        Returns: float32 (batch, 4, height, width) in 0..1, which the next call may overwrite.
        """
        ...


class Runtime(Protocol):
    """Opens networks as training exports them (`services/trainer/export.py`).

    name: which library. provider: what that library computes on, in its own words.
    """

    name: str
    provider: str

    def open(self, model_path: Path, width: int, height: int, batch: int) -> Network:
        """The network of a generator.onnx for windows of width x height px and so many poses at once.

        One that goes on from the picture before takes one pose at a time, whatever `batch` is.
        """
        ...
