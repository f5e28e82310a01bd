"""From a decoded picture to RGB: matrix, range, high dynamic range, turning, square pixels, crop.

The matrix is the stream's own; where it says nothing, BT.709 from 720 lines up and BT.601 below, as players do.
Pictures for HDR screens (PQ, HLG) are brought to BT.709 by a plain tone curve, so that people keep human colours.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, Interpolation, VideoReformatter

from services.common.video.facts import Geometry, Orientation

RGB = npt.NDArray[np.uint8]

_BT709, _BT601, _BT2020 = 1, 5, 9
_UNSPECIFIED = 2
# Full chroma interpolation and exact rounding: the same bytes on every processor, and no colour fringes.
EXACT = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
# Linear light, BT.2020 to BT.709 primaries (ITU-R BT.2087).
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
_HDR_TRANSFERS = (int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67))
_HDR_WHITE_NITS = 203.0
"""Reference white of HDR production (ITU-R BT.2408); becomes 0.8 of the SDR range."""


class RgbConverter:
    """Turns decoded frames into (H, W, 3) uint8 RGB of one geometry. One instance per thread."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> RGB:
        if int(frame.color_trc) in _HDR_TRANSFERS:
            image = _tone_map(self._reformat(frame, "rgb48le"), int(frame.color_trc))
        else:
            # Planes, because swscale makes them twice as fast as packed RGB, to the same values.
            image = _interleave(self._reformat(frame, "gbrp"))
        image = turn(image, self._geometry.orientation)
        if crop := self._geometry.crop:
            image = image[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
        return np.ascontiguousarray(image)

    def _reformat(self, frame: VideoFrame, pixel_format: str) -> VideoFrame:
        options: dict[str, Any] = {}
        if not frame.format.is_rgb:
            full = frame.format.name.startswith("yuvj") or int(frame.color_range) == int(ColorRange.JPEG)
            options = {
                "src_colorspace": _matrix(frame),
                "src_color_range": ColorRange.JPEG if full else ColorRange.MPEG,
                "dst_color_range": ColorRange.JPEG,
            }
        return self._reformatter.reformat(
            frame,
            width=self._geometry.stored_width,
            height=self._geometry.stored_height,
            format=pixel_format,
            interpolation=EXACT,
            threads=1,
            **options,
        )


def _interleave(frame: VideoFrame) -> RGB:
    """Planar GBR to (H, W, 3) RGB."""
    planes: tuple[Any, ...] = frame.planes  # buffers, which PyAV's stub does not say
    green, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] for plane in planes
    )
    image = np.empty((*green.shape, 3), np.uint8)
    for channel, plane in enumerate((red, green, blue)):
        image[..., channel] = plane
    return image


def _matrix(frame: VideoFrame) -> int:
    space = int(frame.colorspace)
    if space in (3, 4, 6, 7, _BT709, _BT601, _BT2020):
        return space
    if space == 10:
        return _BT2020
    if int(frame.color_primaries) == int(ColorPrimaries.BT2020):
        return _BT2020
    return _BT709 if frame.height >= 720 or frame.width >= 1280 else _BT601


def turn(image: npt.NDArray[Any], orientation: Orientation) -> npt.NDArray[Any]:
    """The stored picture brought upright; a view, not a copy."""
    if orientation.transpose:
        image = image.transpose(1, 0, 2)
    return image[:: -1 if orientation.flip_y else 1, :: -1 if orientation.flip_x else 1]


# By the degrees, counter-clockwise, that FFmpeg says a picture is to be turned.
_TURNS = {
    90: Orientation(transpose=True, flip_y=True),
    180: Orientation(flip_x=True, flip_y=True),
    270: Orientation(transpose=True, flip_x=True),
}


def orientation_of(frame: VideoFrame) -> Orientation:
    """Reads the display matrix (ISO 14496-12, 9 x int32): x' = a x + c y, y' = b x + d y."""
    try:
        side_data: Any = frame.side_data  # PyAV's stub types it as a plain dictionary
    except ValueError:
        # PyAV does not know the side data by which photographs carry their EXIF, and then gives none at all.
        return _TURNS.get(round(frame.rotation) % 360, Orientation())
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), dtype="<i4")[:5].tolist()
            if abs(b) + abs(c) > abs(a) + abs(d):
                return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
            return Orientation(flip_x=a < 0, flip_y=d < 0)
    return Orientation()


def _tone_map(frame: VideoFrame, transfer: int) -> RGB:
    """BT.2020 PQ or HLG, packed 16-bit RGB, to BT.709 (H, W, 3) uint8."""
    wide = _linear_light(transfer)[frame.to_ndarray()]
    # Spelt out, because a library's product of matrices sums in an order that differs between processors.
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]
    linear = np.empty_like(wide)
    for channel, (from_red, from_green, from_blue) in enumerate(_BT2020_TO_BT709):
        linear[..., channel] = from_red * red + from_green * green + from_blue * blue
    np.clip(linear, 0.0, None, out=linear)
    # Reinhard's extended curve on the brightest channel keeps hue; 1000 nits reach white.
    peak = linear.max(axis=2, keepdims=True)
    white = 1000.0 / _HDR_WHITE_NITS
    linear *= 0.8 * 1.4 * (1.0 + peak / (white * white)) / (1.0 + 0.4 * peak + peak / white)
    code = np.clip(linear * 4095.0 + 0.5, 0, 4095).astype(np.uint16)
    result: RGB = _display_curve()[code]
    return result


@cache
def _linear_light(transfer: int) -> npt.NDArray[np.float32]:
    """Code value 0..65535 to light relative to reference white (SMPTE ST 2084; ITU-R BT.2100 HLG at 1000 nits)."""
    code = np.arange(65536, dtype=np.float64) / 65535.0
    if transfer == int(ColorTrc.SMPTE2084):
        power = code ** (1 / 78.84375)
        nits = 10_000.0 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    else:
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        nits = 1000.0 * scene**1.2
    return (nits / _HDR_WHITE_NITS).astype(np.float32)


@cache
def _display_curve() -> RGB:
    """Linear light 0..4095 to 8-bit code values (BT.1886 inverse, gamma 2.4, near enough to sRGB's screen)."""
    light = np.arange(4096, dtype=np.float64) / 4095.0
    return np.round(255.0 * light ** (1 / 2.2)).astype(np.uint8)


def square_size(frame: VideoFrame, sample_aspect: Any) -> tuple[int, int]:
    """Width and height that give the stored picture square pixels; only ever enlarged, px."""
    ratio = float(sample_aspect) if sample_aspect else 1.0
    if not 0.1 < ratio < 10 or abs(ratio - 1.0) < 0.01:
        return frame.width, frame.height
    if ratio > 1:
        return round(frame.width * ratio), frame.height
    return frame.width, round(frame.height / ratio)
