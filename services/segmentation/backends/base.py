"""What every segmentation backend is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Segmenter(Protocol):
    """Finds the subject's alpha in single frames. Calls come from several threads at once."""

    model: str
    """Name and weights digest: part of the key of what it makes."""

    def segment(
        self,
        frame: NDArray[np.uint8],
        subject: NDArray[np.float32],
        others: Sequence[NDArray[np.float32]] = (),
    ) -> NDArray[np.uint8]:
        """The subject's alpha.

        Args:
            frame: uint8 (H, W, 3) RGB.
            subject: float32 (133, 3) keypoints, px of the frame.
            others: the same of everybody else in the frame; their pixels are not the subject's.

        Returns: uint8 (H, W), 255 where the subject is; all 0 when too few keypoints are known.
        """
        ...
