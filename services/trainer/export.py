"""From trained weights to what a renderer runs: ONNX with the skeleton drawing included, checked against torch."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from services.common.errors import Internal
from services.common.inference import new_core
from services.common.nn.generator import Generator, window_grid
from services.common.skeleton import KEYPOINT_COUNT

INPUT_NAMES = ("keypoints", "columns", "rows")
OUTPUT_NAMES = ("window", "planes")
# Differences of the exported network from torch's, of outputs in 0..1, that rounding explains: the mean is tiny, while
# single pixels at a line's edge may differ by one or two steps of 255. A wrong export differs by tenths.
_MEAN_TOLERANCE, _LARGEST_TOLERANCE = 5e-4, 0.03
_LARGEST_UNITS = 256


def export_onnx(generator: Generator, resolution: int) -> bytes:
    """The generator as ONNX, its batch, width and height free.

    Inputs: keypoints float32 (N, 133, 3) in window px, columns float32 (W,), rows float32 (H,), the pixel centres
    0, 1, 2, ...; W and H multiples of `generator.config.multiple`. Outputs: window float32 (N, 4, H, W), colour and
    alpha in 0..1, and planes float32 (N, C, H / 2, W / 2), the drawn skeleton: a place to cut the network in two, for
    runtimes of low precision, in which coordinates of some hundred px would lose their fractions.

    Raises Internal when OpenVINO's result on random poses differs from torch's.
    """
    model = _Exported(generator).eval()
    multiple = generator.config.multiple
    units = {name: torch.export.Dim(name, min=1, max=_LARGEST_UNITS) for name in ("across", "down")}
    shapes = ({0: torch.export.Dim("batch")}, {0: multiple * units["across"]}, {0: multiple * units["down"]})
    with _quiet():
        program = torch.onnx.export(
            model, _example(2, resolution, resolution), input_names=INPUT_NAMES, output_names=OUTPUT_NAMES,
            dynamic_shapes=shapes, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    # Another batch, width and height than those of the export, to see that they really are free.
    _check(model, data, _example(3, resolution + multiple, resolution))
    return data


class _Exported(nn.Module):
    """The generator with its drawing as a second output, on the CPU in float32."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = Generator(generator.config)
        self.generator.load_state_dict(generator.state_dict())

    def forward(self, keypoints: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `export_onnx`."""
        planes = self.generator.draw(keypoints, columns, rows)
        return torch.sigmoid(self.generator.body(planes)), planes


def _example(count: int, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    span = torch.tensor([width, height, 1.0])
    return torch.rand((count, KEYPOINT_COUNT, 3), generator=random) * span, *window_grid(width, height)


def _check(model: nn.Module, data: bytes, example: tuple[Tensor, Tensor, Tensor]) -> None:
    # Not by ONNX Runtime: its packages bring a telemetry client that starts with their import.
    core = new_core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(io.BytesIO(data)), "CPU", exact).create_infer_request()
    request.infer({name: tensor.numpy() for name, tensor in zip(INPUT_NAMES, example, strict=True)})
    found = request.get_tensor(OUTPUT_NAMES[0]).data
    with torch.inference_mode():
        expected = model(*example)[0].numpy()
    if found.shape != expected.shape:
        raise Internal(f"the exported generator gives {found.shape}, the trained one {expected.shape}")
    difference = np.abs(found - expected)
    mean, largest = float(difference.mean()), float(difference.max())
    if not (mean <= _MEAN_TOLERANCE and largest <= _LARGEST_TOLERANCE):
        raise Internal(
            f"the exported generator differs from the trained one by {mean:.4g} on average (allowed: "
            f"{_MEAN_TOLERANCE:g}) and {largest:.4g} at most (allowed: {_LARGEST_TOLERANCE:g})"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of optional packages that nothing here needs."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
