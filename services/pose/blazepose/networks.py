"""Loads a TFLite network into OpenVINO and runs it from any thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from services.common.weights import verified_weight_path

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Runtime:
    """Where networks come from and how many calls of one run at the same time, each on a core of its own."""

    core: openvino.Core
    weights_dir: Path
    streams: int


class Network:
    """One image network. Calling it is thread-safe; each call runs on one core, so callers choose the parallelism."""

    def __init__(self, runtime: Runtime, name: str, mean: float, std: float) -> None:
        """Compile `name` (see services.common.weights). Pixels 0..255 go in as (pixel - mean) / std.

        Raises WeightsMissing or DataCorrupted.
        """
        model = runtime.core.read_model(verified_weight_path(runtime.weights_dir, name))
        self.size = int(model.inputs[0].shape[1])
        # float32 everywhere: bf16 moves landmarks by up to a pixel and differs between processors.
        streams = runtime.streams
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": streams,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = runtime.core.compile_model(model, "CPU", options)
        self._scale, self._offset = np.float32(1 / std), np.float32(-mean / std)
        self._local = threading.local()

    def __call__(self, crop: NDArray[np.uint8]) -> list[Floats]:
        """crop: uint8 (size, size, 3) RGB. Returns the network's outputs, float32, in its own order, without batch."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        image = crop.astype(np.float32)
        image *= self._scale
        image += self._offset
        request.infer([image[None]], share_inputs=True)
        return [np.array(request.get_output_tensor(i).data[0]) for i in range(len(self._compiled.outputs))]


def sigmoid(values: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-np.clip(values, -80.0, 80.0)))).astype(np.float32)
