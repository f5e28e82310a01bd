"""What is known about a video once it has been looked at."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Crop:
    """A rectangle of the upright, square-pixel frame, px; origin top left."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Orientation:
    """How the stored frame is brought upright: transposed first (rows become columns), then flipped."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def rotation_degrees(self) -> int:
        """Clockwise turn that brings the stored frame upright (a mirrored frame: the turn after mirroring)."""
        if self.transpose:
            return 270 if self.flip_y and not self.flip_x else 90
        return 180 if self.flip_y else 0

    @property
    def mirrored(self) -> bool:
        """Whether left and right change places on top of the turn."""
        return self.transpose ^ self.flip_x ^ self.flip_y


@dataclass(frozen=True)
class Geometry:
    """From the decoded picture to the frame that everyone else sees."""

    stored_width: int
    """Width that the decoded picture is scaled to before it is turned, px: square pixels."""
    stored_height: int
    """Height that the decoded picture is scaled to before it is turned, px."""
    orientation: Orientation = Orientation()
    crop: Crop | None = None
    """Part that is kept of the upright frame; None keeps all."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height after turning, before cropping, px."""
        if self.orientation.transpose:
            return self.stored_height, self.stored_width
        return self.stored_width, self.stored_height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames that come out, px."""
        return (self.crop.width, self.crop.height) if self.crop else self.upright_size


@dataclass(frozen=True)
class Timing:
    """How timestamps become frame numbers: slot = round((ticks - first_ticks) * time_base * rate - shift)."""

    rate: Fraction
    """Exact constant rate, frames a second."""
    time_base: Fraction
    """Seconds in one tick of the stream."""
    first_ticks: int
    """Timestamp of the first frame, ticks."""
    shift: float
    """Frames by which the grid lies after the first timestamp; centres the jitter of rounded timestamps."""
    slot_count: int
    """Frames that the whole video has at the constant rate."""
    packet_count: int
    """Frames that the file holds."""
    timed: bool
    """False: timestamps are missing or useless, frames are numbered as they come."""
    variable: bool
    """The file's own rate varies: frames are repeated or left out to make it constant."""

    def slot(self, ticks: int) -> int:
        """Frame number of a timestamp, may be negative for frames before the first."""
        return round(float((ticks - self.first_ticks) * self.time_base * self.rate) - self.shift)


@dataclass(frozen=True)
class VideoFacts:
    """A video as decoding shows it, not as its container tells it."""

    geometry: Geometry
    timing: Timing
    first_slot: int
    """Frame number, in the whole video, of the chosen part's first frame."""
    frame_count: int
    """Frames in the chosen part. Damaged files may deliver fewer."""
    has_audio: bool
    container: str
    codec: str
    pixel_format: str
    warnings: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.geometry.size[0]

    @property
    def height(self) -> int:
        return self.geometry.size[1]

    @property
    def frame_rate(self) -> Fraction:
        return self.timing.rate

    @property
    def start_seconds(self) -> float:
        """Start of the chosen part, seconds after the video's first frame."""
        return float(self.first_slot / self.frame_rate)

    @property
    def duration_seconds(self) -> float:
        """Length of the chosen part."""
        return float(self.frame_count / self.frame_rate)
