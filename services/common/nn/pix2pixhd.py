"""The `pix2pixhd` generator: drawn skeleton and the picture before in, the window's whole picture out.

Implemented from the papers: a global generator at half the resolution and a local enhancer about it (Wang et al.,
"High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018), given the previous output
besides the pose (Chan et al., "Everybody Dance Now", ICCV 2019). The pose is drawn as one soft channel a bone, not as
a coloured stick figure; all else follows the papers, sizes being free.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.common.nn.strokes import CHANNELS, Strokes


@dataclass(frozen=True)
class Pix2PixHDConfig:
    """What a generator is built from; stored in the performer's config.json.

    Attributes:
        width: channels of the global generator's first layer; 64 in the paper. The local enhancer begins with half.
        downs: times that the global generator halves its resolution; 4 in the paper.
        global_blocks: residual blocks of the global generator; 9 in the paper.
        local_blocks: residual blocks of the local enhancer; 3 in the paper.
        sigma_px: width of the body's lines in window px.
        fine_sigma_px: width of the lines of fingers and face.
    """

    width: int = 64
    downs: int = 4
    global_blocks: int = 9
    local_blocks: int = 3
    sigma_px: float = 3.0
    fine_sigma_px: float = 1.5

    def to_json(self) -> dict[str, object]:
        """Returns the JSON that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Pix2PixHDConfig:
        """Raises TypeError where `value` is not what `to_json` wrote."""
        return cls(**value)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """The window's width and height must be multiples of this many px."""
        return 2 << self.downs


class InstanceNorm(nn.Module):
    """Each channel of each sample to mean 0 and variance 1, without learnt parameters.

    Spelt out: the export then holds two means and no operator that runtimes differ in.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        centred = x - x.mean((2, 3), keepdim=True)
        return centred * torch.rsqrt(centred.square().mean((2, 3), keepdim=True) + 1e-5)


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """c7s1-k and dk of the paper: convolution, normalisation, ReLU; 7 px kernels mirror at the edge."""
    mirrored = stride == 1
    mode: Literal["reflect", "zeros"] = "reflect" if mirrored else "zeros"
    conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, padding_mode=mode)
    return nn.Sequential(conv, InstanceNorm(), nn.ReLU())


def _up(inputs: int, outputs: int) -> nn.Sequential:
    """uk of the paper: fractionally strided convolution, normalisation, ReLU."""
    conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(conv, InstanceNorm(), nn.ReLU())


class _Residual(nn.Module):
    """Rk of the paper: two 3 px convolutions with k channels, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        conv = [nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect") for _ in range(2)]
        self.layers = nn.Sequential(conv[0], InstanceNorm(), nn.ReLU(), conv[1], InstanceNorm())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        change: Tensor = self.layers(x)
        return x + change


class Pix2PixHD(nn.Module):
    """Keypoints in window coordinates and the picture before to the window's picture."""

    def __init__(self, config: Pix2PixHDConfig) -> None:
        super().__init__()
        self.config = config
        self.strokes = Strokes(config.sigma_px, config.fine_sigma_px)
        inputs, w = len(CHANNELS) + 3, config.width
        self.coarse = nn.Sequential(
            _conv(inputs, w, 7),
            *(_conv(w << i, w << (i + 1), 3, stride=2) for i in range(config.downs)),
            *(_Residual(w << config.downs) for _ in range(config.global_blocks)),
            *(_up(w << (i + 1), w << i) for i in reversed(range(config.downs))),
        )
        self.coarse_last = nn.Conv2d(w, 3, 7, padding=3, padding_mode="reflect")
        self.enhancer_first = nn.Sequential(_conv(inputs, w // 2, 7), _conv(w // 2, w, 3, stride=2))
        self.enhancer_last = nn.Sequential(
            *(_Residual(w) for _ in range(config.local_blocks)),
            _up(w, w // 2),
            nn.Conv2d(w // 2, 3, 7, padding=3, padding_mode="reflect"),
        )
        self.apply(_initialise)

    def forward(self, keypoints: Tensor, columns: Tensor, rows: Tensor, previous: Tensor) -> Tensor:
        """Generates.

        Args:
            keypoints: float (N, 133, 3), x px, y px of the window, confidence 0..1.
            columns: float (W,), 0, 1, ..., W - 1: the pixel centres of the window; W a multiple of `config.multiple`.
            rows: float (H,), the same downward.
            previous: float (N, 3, H, W) in -1..1, the output for the frame before; 0 where there is none.

        Returns:
            float32 (N, 4, H, W) in 0..1: red, green, blue and alpha, which is 1 everywhere.
        """
        return self.window(self.draw(keypoints, columns, rows), previous)

    def draw(self, keypoints: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """The conditioning: (N, len(CHANNELS), H, W), channels last in memory."""
        planes: Tensor = self.strokes(keypoints, columns, rows)
        return planes.contiguous(memory_format=torch.channels_last)

    def window(self, planes: Tensor, previous: Tensor) -> Tensor:
        """Conditioning and the picture before to the window as `forward` returns it."""
        picture = self.body(planes, previous).float()
        return torch.cat([0.5 * picture + 0.5, torch.ones_like(picture[:, :1])], dim=1)

    def body(self, planes: Tensor, previous: Tensor, *, coarse_is_fixed: bool = False) -> Tensor:
        """Conditioning and the picture before to the picture (N, 3, H, W) in -1..1.

        coarse_is_fixed: keeps gradients from the global generator.
        """
        x = torch.cat([planes, previous.to(planes.dtype)], dim=1)
        if coarse_is_fixed:
            with torch.no_grad():
                features = self.coarse(functional.avg_pool2d(x, 2))
        else:
            features = self.coarse(functional.avg_pool2d(x, 2))
        return torch.tanh(self.enhancer_last(features + self.enhancer_first(x)))

    def coarse_body(self, planes: Tensor, previous: Tensor) -> Tensor:
        """What the global generator alone gives at its own, half the resolution: (N, 3, H, W) from its size's input."""
        return torch.tanh(self.coarse_last(self.coarse(torch.cat([planes, previous.to(planes.dtype)], dim=1))))


def _initialise(module: nn.Module) -> None:
    """Weights from a normal distribution of deviation 0.02, as in the paper."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
