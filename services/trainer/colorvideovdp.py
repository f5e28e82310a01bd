"""ColorVideoVDP: how visible the difference of two films is to people (Mantiuk et al., SIGGRAPH 2024), by its authors'
own package.

Pictures stand as pixels of a full HD display of 24 inches, seen from 60 cm. What is measured is in units of just
objectionable differences (JOD): 10 where nobody sees one; a film that has 1 more than another is preferred by three of
four who compare them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_DISPLAY = "standard_fhd"
# Of films without any difference, as the truth's own row is: known without the work.
_ALIKE = 10.0


class ColorVideoVdp:
    """The measure, for films of `frame_rate` frames a second.

    digest: names what measures, for the keys of what is measured with it.
    """

    def __init__(self, frame_rate: float, device: torch.device | str = "cpu") -> None:
        self._rate = frame_rate
        self._metric = _package().cvvdp(display_name=_DISPLAY, device=torch.device(device), quiet=True)

    @staticmethod
    def digest() -> str:
        """Which release measures, on which display."""
        return f"cvvdp/{importlib.metadata.version('cvvdp')}/{_DISPLAY}"

    def __call__(self, pictures: Sequence[Picture], truths: Sequence[Picture]) -> float:
        """JOD, 10 at most, of consecutive sRGB pictures uint8 (H, W, 3), as many of each, all of one size."""
        if all(np.array_equal(*pair) for pair in zip(pictures, truths, strict=True)):
            return _ALIKE
        with torch.inference_mode():
            films = (np.stack(pictures), np.stack(truths))
            found, _ = self._metric.predict(*films, dim_order="FHWC", frames_per_second=self._rate)
        return float(found)


def _package() -> Any:
    """Loaded when it is needed, since that takes seconds. It puts its own folder on Python's path to import parts of
    itself by short names, and is written with escapes that Python warns of: neither is let out."""
    path = list(sys.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("pycvvdp")
    finally:
        sys.path[:] = path
