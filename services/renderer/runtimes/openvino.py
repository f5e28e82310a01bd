"""OpenVINO: a performer's network on the CPU, in bfloat16 where the processor has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from services.common.inference import new_core
from services.renderer.runtimes.base import Floats

if TYPE_CHECKING:
    import openvino


class OpenVino:
    """See Runtime.

    Args:
        threads: of the computation; fixed, because the order of sums depends on it.
    """

    name, provider = "openvino", "CPU"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def open(self, model_path: Path, width: int, height: int, batch: int) -> OpenVinoNetwork:
        """See Runtime."""
        return OpenVinoNetwork(model_path, width, height, batch, self._threads)


class OpenVinoNetwork:
    """See Network.

    It is cut in two where the skeleton is drawn: the drawing computes with coordinates of some hundred px and stays in
    float32, the rest runs in bfloat16 where the processor has instructions for it.
    """

    def __init__(self, model_path: Path, width: int, height: int, batch: int, threads: int) -> None:
        core = new_core()
        model = core.read_model(model_path)
        self.goes_on = any("previous" in port.get_names() for port in model.inputs)
        self.batch = 1 if self.goes_on else batch
        shapes: dict[str, list[int]] = {"keypoints": [self.batch, -1, 3], "columns": [width], "rows": [height]}
        if self.goes_on:
            shapes["previous"] = [1, 3, height, width]
        model.reshape(shapes)
        drawing, body = _cut(model)
        options: dict[str, Any] = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._drawing = core.compile_model(drawing, "CPU", options).create_infer_request()
        if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            options["INFERENCE_PRECISION_HINT"] = "bf16"
        self._body = core.compile_model(body, "CPU", options).create_infer_request()
        self._grid = [np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)]

    def __call__(self, keypoints: Floats, previous: Floats) -> Floats:
        """See Network."""
        self._drawing.infer([keypoints, *self._grid], share_inputs=True)
        planes = self._drawing.get_output_tensor(0)
        self._body.infer([planes, previous] if self.goes_on else [planes], share_inputs=True)
        found: Floats = self._body.get_output_tensor(0).data
        return found


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
