"""A performer's generator without torch: the exported network, run by whichever runtime this machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.renderer.runtimes.base import Floats, Runtime

# Frames computed at once. Every batch is this large, the last one padded, so that a frame's pixels never depend on
# how many others were asked for with it.
BATCH = 4


class WindowGenerator:
    """Keypoints in window px to colour and alpha, at one window size.

    A generator that is given the picture before goes from pose to pose: `goes_on` is true, and `restart` forgets.

    Args:
        model_path: the performer's generator.onnx.
        width: of the window, px.
        height: of the window, px.
        runtime: what computes.
    """

    def __init__(self, model_path: Path, width: int, height: int, runtime: Runtime) -> None:
        self._network = runtime.open(model_path, width, height, BATCH)
        self.goes_on = self._network.goes_on
        self._previous = np.zeros((1, 3, height, width), dtype=np.float32)

    def restart(self) -> None:
        """Forgets what was generated: the next pose has nothing before it."""
        self._previous[:] = 0.0

    def __call__(self, keypoints: Floats) -> Floats:
        """Windows float32 (N, height, width, 4) in 0..1 of at most `BATCH` poses float32 (N, 133, 3)."""
        step = self._network.batch
        return np.concatenate([self._infer(keypoints[n : n + step]) for n in range(0, len(keypoints), step)])

    def _infer(self, keypoints: Floats) -> Floats:
        count = len(keypoints)
        missing = self._network.batch - count
        padded = np.concatenate([keypoints, np.zeros((missing, *keypoints.shape[1:]), np.float32)])
        found = self._network(padded, self._previous)[:count]
        if self.goes_on:
            np.subtract(2.0 * found[:, :3], 1.0, out=self._previous)
        return np.ascontiguousarray(found.transpose(0, 2, 3, 1))
