"""A performer's ONNX network at one window size, in two parts: the skeleton's drawing, and what paints from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import KEYPOINT_COUNT

if TYPE_CHECKING:
    import onnx

Shape = Sequence[int]


class CutNetwork:
    """The parts before and after the output `planes` (see `services/trainer/export.py`), shapes fixed.

    goes_on: whether it is given the picture before. batch: poses at once, 1 for one that goes on. inputs: shapes of
    keypoints, columns, rows and, of one that goes on, previous.
    """

    def __init__(self, data: bytes, width: int, height: int, batch: int) -> None:
        import onnx

        self._model = onnx.load_from_string(data)
        self.goes_on = any(each.name == "previous" for each in self._model.graph.input)
        self.batch = 1 if self.goes_on else batch
        self.inputs: dict[str, Shape] = {
            "keypoints": (self.batch, KEYPOINT_COUNT, 3), "columns": (width,), "rows": (height,),
        }  # fmt: skip
        if self.goes_on:
            self.inputs["previous"] = (1, 3, height, width)

    def drawing(self) -> bytes:
        """ONNX from keypoints, columns and rows to planes."""
        return _part(self._model, {name: shape for name, shape in self.inputs.items() if name != "previous"}, "planes")

    def body(self, planes: Shape) -> bytes:
        """ONNX from planes of this shape, and previous of one that goes on, to window."""
        previous = {name: shape for name, shape in self.inputs.items() if name == "previous"}
        return _part(self._model, {"planes": planes, **previous}, "window")

    def example(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """keypoints and previous to try it with: poses at random, all over the window, over noise."""
        random = np.random.default_rng(1)
        (width,), (height,) = self.inputs["columns"], self.inputs["rows"]
        keypoints = random.random(self.inputs["keypoints"], dtype=np.float32) * np.array([width, height, 1], np.float32)
        return keypoints, 2.0 * random.random((1, 3, height, width), dtype=np.float32) - 1.0


def smallest() -> bytes:
    """ONNX of next to nothing, to see whether anything can be computed: given, float32 (1, 2), through one ReLU."""
    from onnx import TensorProto, helper

    given, found = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in ("given", "found"))
    graph = helper.make_graph([helper.make_node("Relu", ["given"], ["found"])], "smallest", [given], [found])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def _part(model: onnx.ModelProto, entries: Mapping[str, Shape], end: str) -> bytes:
    """The nodes that lead from the values `entries` to the value `end`, as a model of its own."""
    from onnx import TensorProto, helper

    wanted, nodes = {end}, []
    for node in reversed(model.graph.node):  # ONNX keeps them in the order of computation
        if wanted.intersection(node.output):
            nodes.append(node)
            wanted.update(name for name in node.input if name not in entries)
    graph = helper.make_graph(
        nodes[::-1],
        end,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in entries.items()],
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, None)],
        [each for each in model.graph.initializer if each.name in wanted],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    data: bytes = part.SerializeToString()
    return data
