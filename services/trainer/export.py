"""From trained weights to what a renderer runs: ONNX with the skeleton drawing included, checked against torch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from services.common.errors import Internal
from services.common.inference import new_core
from services.common.nn.generator import Generator, window_grid
from services.common.nn.pix2pixhd import Pix2PixHD
from services.common.skeleton import KEYPOINT_COUNT

INPUT_NAMES = ("keypoints", "columns", "rows", "previous")
OUTPUT_NAMES = ("window", "planes")
# Differences of the exported network from torch's, of outputs in 0..1, that rounding explains: the mean is tiny, while
# single pixels at a line's edge may differ by one or two steps of 255. A wrong export differs by tenths.
_MEAN_TOLERANCE, _LARGEST_TOLERANCE = 5e-4, 0.03
_OPSET = 20
# The sizes of each input and output that are free, by axis.
_WINDOW = {0: "batch", 2: "down", 3: "across"}
_FREE = ({0: "batch"}, {0: "across"}, {0: "down"}, _WINDOW)
_FREE_OUTPUTS = (_WINDOW, {0: "batch", 2: "half_down", 3: "half_across"})


def export_onnx(generator: Generator | Pix2PixHD, resolution: int) -> bytes:
    """The generator as ONNX, its batch, width and height free.

    Inputs: keypoints float32 (N, 133, 3) in window px, columns float32 (W,), rows float32 (H,), the pixel centres
    0, 1, 2, ...; W and H multiples of `generator.config.multiple`. Outputs: window float32 (N, 4, H, W), colour and
    alpha in 0..1, and planes float32 (N, C, h, w), the drawn skeleton: a place to cut the network in two, for
    runtimes of low precision, in which coordinates of some hundred px would lose their fractions.
    A generator that is given the picture before has the input previous, float32 (N, 3, H, W) in -1..1.

    Raises Internal when OpenVINO's result on random poses differs from torch's.
    """
    multiple = generator.config.multiple
    model, file = _exported(generator), io.BytesIO()
    example = _example(model, 2, resolution, resolution)
    names = INPUT_NAMES[: len(example)]
    free = dict(zip((*names, *OUTPUT_NAMES), (*_FREE[: len(names)], *_FREE_OUTPUTS), strict=True))
    # By tracing: these networks do not branch, and with free sizes the newer exporter (dynamo) takes 20 s for what
    # takes this one 1 s, at the end of every training.
    with _quiet():
        torch.onnx.export(
            model, example, file,  # type: ignore[arg-type]  # tracing writes to files as well
            input_names=names, output_names=OUTPUT_NAMES, dynamic_axes=free, opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    data = file.getvalue()
    # Another batch, width and height than those of the export, to see that they really are free.
    _check(model, data, _example(model, 3, resolution + multiple, resolution))
    return data


class _Composite(nn.Module):
    """The generator with its drawing as a second output."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, keypoints: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `export_onnx`."""
        planes = self.generator.draw(keypoints, columns, rows)
        return self.generator.window(planes), planes


class _Anchor(nn.Module):
    """The same for one that is given the picture before."""

    def __init__(self, generator: Pix2PixHD) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, keypoints: Tensor, columns: Tensor, rows: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """See `export_onnx`."""
        planes = self.generator.draw(keypoints, columns, rows)
        return self.generator.window(planes, previous), planes


def _exported(generator: Generator | Pix2PixHD) -> _Composite | _Anchor:
    """A copy on the CPU in float32."""
    if isinstance(generator, Generator):
        composite = Generator(generator.config)
        composite.load_state_dict(generator.state_dict())
        return _Composite(composite).eval()
    anchor = Pix2PixHD(generator.config)
    anchor.load_state_dict(generator.state_dict())
    return _Anchor(anchor).eval()


def _example(model: _Composite | _Anchor, count: int, width: int, height: int) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    span = torch.tensor([width, height, 1.0])
    poses = (torch.rand((count, KEYPOINT_COUNT, 3), generator=random) * span, *window_grid(width, height))
    if isinstance(model, _Composite):
        return poses
    return *poses, torch.rand((count, 3, height, width), generator=random) * 2.0 - 1.0


def _check(model: nn.Module, data: bytes, example: tuple[Tensor, ...]) -> None:
    # Not by ONNX Runtime: its packages bring a telemetry client that starts with their import.
    core = new_core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(io.BytesIO(data)), "CPU", exact).create_infer_request()
    request.infer({name: tensor.numpy() for name, tensor in zip(INPUT_NAMES, example, strict=False)})
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
    """The exporter warns of itself, and of what it does not fold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
