"""The `composite` generator: drawn skeleton in, colour and alpha of the person out.

U-shaped with skips (Ronneberger et al., MICCAI 2015), residual blocks at each scale. All of it runs at half the
window's resolution or below, and the last layer spreads its channels over the full resolution (sub-pixel convolution,
Shi et al., CVPR 2016): on a CPU, convolutions with few channels over many pixels cost several times more per operation
than ones with many channels over few, and the soft strokes hold their sub-pixel position at half the resolution.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.common.nn.strokes import CHANNELS, Strokes


@dataclass(frozen=True)
class GeneratorConfig:
    """What a generator is built from; stored in the performer's config.json.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8, ... of the window's resolution.
        blocks: residual blocks at each scale, on the way down and again on the way up.
        sigma_px: width of the body's lines in window px.
        fine_sigma_px: width of the lines of fingers and face.
    """

    widths: tuple[int, ...] = (24, 48, 96, 160, 256)
    blocks: int = 1
    sigma_px: float = 3.0
    fine_sigma_px: float = 1.5

    def to_json(self) -> dict[str, object]:
        """Returns the JSON that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, object]) -> GeneratorConfig:
        """Raises TypeError or ValueError where `value` is not what `to_json` wrote."""
        fields = dict(value)
        widths = fields.pop("widths")
        if not isinstance(widths, (list, tuple)):
            raise ValueError(f"widths must be a list, got {widths!r}")
        return cls(widths=tuple(int(w) for w in widths), **fields)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """The window's width and height must be multiples of this many px."""
        return 1 << len(self.widths)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(max(1, channels // 16), channels)


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the second convolution starting at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        h = self.conv1(functional.silu(self.norm1(x)))
        change: Tensor = self.conv2(functional.silu(self.norm2(h)))
        return x + change


class Generator(nn.Module):
    """Keypoints in window coordinates to colour and alpha of the window."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.strokes = Strokes(config.sigma_px, config.fine_sigma_px)
        self.stem = nn.Conv2d(len(CHANNELS), w[0], 3, padding=1)
        self.encoders = nn.ModuleList(nn.Sequential(*(Residual(c) for _ in range(config.blocks))) for c in w)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(w))
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(w))
        self.joins = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a in w[:-1])
        self.decoders = nn.ModuleList(nn.Sequential(*(Residual(c) for _ in range(config.blocks))) for c in w[:-1])
        self.norm = _norm(w[0])
        self.head = nn.Conv2d(w[0], 64, 3, padding=1)
        self.last = nn.Conv2d(16, 4, 3, padding=1)
        # Starts as grey, nearly transparent: the plate shows through and the first losses are small.
        with torch.no_grad():
            assert self.last.bias is not None
            self.last.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -2.0]))

    def forward(self, keypoints: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """Generates.

        Args:
            keypoints: float (N, 133, 3), x px, y px of the window, confidence 0..1.
            columns: float (W,), 0, 1, ..., W - 1: the pixel centres of the window; W a multiple of `config.multiple`.
            rows: float (H,), the same downward.

        Returns:
            float32 (N, 4, H, W) in 0..1: red, green, blue (not multiplied by alpha) and alpha.
        """
        return self.window(self.draw(keypoints, columns, rows))

    def draw(self, keypoints: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """The conditioning at half the resolution: (N, len(CHANNELS), H / 2, W / 2), channels last in memory."""
        halves = (columns.view(-1, 2).mean(1), rows.view(-1, 2).mean(1))
        planes: Tensor = self.strokes(keypoints, *halves)
        return planes.contiguous(memory_format=torch.channels_last)

    def window(self, planes: Tensor) -> Tensor:
        """Conditioning to the window as `forward` returns it."""
        return torch.sigmoid(self.body(planes).float())

    def body(self, x: Tensor) -> Tensor:
        """Conditioning (N, C, H / 2, W / 2) to the logits of colour and alpha (N, 4, H, W)."""
        x = self.stem(x)
        skips = []
        for i, encoder in enumerate(self.encoders):
            x = encoder(x)
            if i < len(self.downs):
                skips.append(x)
                x = self.downs[i](x)
        for i in reversed(range(len(self.ups))):
            x = functional.interpolate(self.ups[i](x), scale_factor=2.0, mode="nearest")
            x = self.decoders[i](self.joins[i](torch.cat([x, skips[i]], dim=1)))
        x = functional.pixel_shuffle(self.head(functional.silu(self.norm(x))), 2)
        logits: Tensor = self.last(functional.silu(x))
        return logits


def window_grid(width: int, height: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The `columns` (width,) and `rows` (height,) of a window of that many px."""
    return torch.arange(width, device=device).float(), torch.arange(height, device=device).float()
