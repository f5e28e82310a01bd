"""VGG's features (Simonyan and Zisserman, ICLR 2015), by weights that the user brings: no package carries them.

Weights come as safetensors by torchvision's names: `features.N.weight` and `features.N.bias`, N counting all layers.
Channel counts are the file's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from services.common.errors import DataCorrupted, WeightsMissing

Three = tuple[float, float, float]


class Weights:
    """A file of weights, by name.

    what: is in it, for messages. digest: SHA-256 of the file. Raises WeightsMissing, DataCorrupted.
    """

    def __init__(self, path: Path, what: str) -> None:
        if not path.is_file():
            raise WeightsMissing(f"there are no {what} at {path}; leave the setting empty to do without")
        data = path.read_bytes()
        self.digest = hashlib.sha256(data).hexdigest()
        self._path, self._what = path, what
        try:
            self._tensors = safetensors.torch.load(data)
        except safetensors.SafetensorError as error:
            raise self.refused(str(error)) from error

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise self.refused(f"it has no {name}")
        return self._tensors[name]

    def refused(self, why: str) -> DataCorrupted:
        """What to raise when these weights cannot be used."""
        return DataCorrupted(f"{self._path.name} does not hold {self._what}: {why}", object=self._path.name)


class Vgg(nn.Module):
    """Convolutions of 3 px in groups, between which resolution is halved. Learns nothing.

    Args:
        weights: that hold `features.N.*`.
        groups: the numbers N of each group's convolutions; a network may be cut short.
        mean: of pictures, taken from them, by channel.
        deviation: of pictures, by which they are divided.

    Raises DataCorrupted when a convolution is missing or of another shape.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Weights, groups: Sequence[Sequence[int]], mean: Three, deviation: Three) -> None:
        super().__init__()
        channels, found = len(mean), []
        for group in groups:
            convolutions = nn.ModuleList()
            for number in group:
                kernels, bias = weights[f"features.{number}.weight"], weights[f"features.{number}.bias"]
                convolution = nn.Conv2d(channels, len(kernels), 3, padding=1)
                try:
                    convolution.load_state_dict({"weight": kernels, "bias": bias})
                except RuntimeError as error:
                    raise weights.refused(f"features.{number}: {str(error).splitlines()[-1].strip()}") from error
                convolutions.append(convolution)
                channels = len(kernels)
            found.append(convolutions)
        self.groups = nn.ModuleList(found)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self.requires_grad_(requires_grad=False)

    def forward(self, pictures: Tensor) -> list[list[Tensor]]:
        """What each convolution of each group gives after its rectifier, for pictures (N, 3, H, W)."""
        x, found = (pictures - self.mean) / self.deviation, []
        for depth, group in enumerate(self.groups):
            x = functional.max_pool2d(x, 2) if depth else x
            given: list[Tensor] = []
            for convolution in group:  # type: ignore[attr-defined]
                x = functional.relu(convolution(x))
                given.append(x)
            found.append(given)
        return found
