"""A performer's generator without torch: ONNX by OpenVINO on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.common.inference import new_core

if TYPE_CHECKING:
    import openvino

Floats = NDArray[np.float32]

# Frames computed at once. Every batch is this large, the last one padded, so that a frame's pixels never depend on
# how many others were asked for with it.
BATCH = 4


class WindowGenerator:
    """Keypoints in window px to colour and alpha, at one window size.

    The network is cut in two where the skeleton is drawn: the drawing computes with coordinates of some hundred px
    and stays in float32, the rest runs in bfloat16 where the processor has instructions for it.

    A generator that is given the picture before goes from pose to pose: `goes_on` is true, and `restart` forgets.

    Args:
        model_path: the performer's generator.onnx.
        width: of the window, px.
        height: of the window, px.
        threads: of the computation; fixed, because the order of sums depends on it.
    """

    def __init__(self, model_path: Path, width: int, height: int, threads: int | None = None) -> None:
        core = new_core()
        model = core.read_model(model_path)
        self.goes_on = any("previous" in port.get_names() for port in model.inputs)
        self._batch = 1 if self.goes_on else BATCH
        shapes: dict[str, list[int]] = {"keypoints": [self._batch, -1, 3], "columns": [width], "rows": [height]}
        if self.goes_on:
            shapes["previous"] = [1, 3, height, width]
        model.reshape(shapes)
        drawing, body = _cut(model)
        options: dict[str, Any] = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._drawing = core.compile_model(drawing, "CPU", options).create_infer_request()
        if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            options["INFERENCE_PRECISION_HINT"] = "bf16"
        self._body = core.compile_model(body, "CPU", options).create_infer_request()
        self._grid = [np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)]
        self._previous = np.zeros((1, 3, height, width), dtype=np.float32)

    def restart(self) -> None:
        """Forgets what was generated: the next pose has nothing before it."""
        self._previous[:] = 0.0

    def __call__(self, keypoints: Floats) -> Floats:
        """Windows float32 (N, height, width, 4) in 0..1 of at most `BATCH` poses float32 (N, 133, 3)."""
        step = self._batch
        return np.concatenate([self._infer(keypoints[n : n + step]) for n in range(0, len(keypoints), step)])

    def _infer(self, keypoints: Floats) -> Floats:
        count = len(keypoints)
        padded = np.concatenate([keypoints, np.zeros((self._batch - count, *keypoints.shape[1:]), np.float32)])
        self._drawing.infer([padded, *self._grid], share_inputs=True)
        planes = self._drawing.get_output_tensor(0)
        self._body.infer([planes, self._previous] if self.goes_on else [planes], share_inputs=True)
        found: Floats = self._body.get_output_tensor(0).data[:count]
        if self.goes_on:
            np.subtract(2.0 * found[:, :3], 1.0, out=self._previous)
        return np.ascontiguousarray(found.transpose(0, 2, 3, 1))


def _cut(model: openvino.Model) -> tuple[openvino.Model, openvino.Model]:
    """The parts of the network before and after its output `planes`."""
    import openvino
    from openvino import opset13

    planes, window = model.output("planes"), model.output("window")
    source = planes.get_node().input_value(0)
    previous = [each for each in model.get_parameters() if each.get_friendly_name() == "previous"]
    drawn_from = [each for each in model.get_parameters() if each.get_friendly_name() != "previous"]
    drawing = openvino.Model([source], drawn_from, "drawing")
    entry = opset13.parameter(source.get_partial_shape(), openvino.Type.f32, name="planes")
    for target in source.get_target_inputs():
        if target.get_node().get_type_name() != "Result":
            target.replace_source_output(entry.output(0))
    body = openvino.Model([window.get_node().input_value(0)], [entry, *previous], "body")
    return drawing, body
