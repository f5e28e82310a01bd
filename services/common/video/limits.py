"""What a video may be, and the errors that say so in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.errors import FileTooLarge, FrameTooLarge, FrameTooSmall, VideoTooLong, VideoTooShort

_MIB = 1024 * 1024


@dataclass(frozen=True)
class VideoLimits:
    """Bounds of a video that is let in. Sizes are of the frame as it is shown: upright, with square pixels."""

    max_bytes: int = 2048 * _MIB
    """Largest file, bytes."""
    max_duration_seconds: float = 1800.0
    """Longest part that may be used, after trims."""
    max_pixels: int = 4096 * 2304
    """Largest frame, width times height. 4K passes, 8K does not."""
    max_side_px: int = 8192
    """Longest side of a frame; a strip of 100 000 x 64 is no video either."""
    min_side_px: int = 64
    """Shortest side of a frame: below it nobody can be seen."""
    min_frames: int = 2
    """Fewest frames that make a video."""
    max_packets: int = 4_000_000
    """Most packets looked at while timestamps are read; bounds memory at 32 MB."""

    def check_bytes(self, size_bytes: int) -> None:
        """Raises FileTooLarge."""
        if size_bytes > self.max_bytes:
            raise FileTooLarge(
                f"the file has {size_bytes / _MIB:.0f} MiB and at most {self.max_bytes / _MIB:.0f} MiB are taken; "
                "cut it or compress it first",
                size_bytes=size_bytes,
                limit_bytes=self.max_bytes,
            )

    def check_frame_size(self, width: int, height: int) -> None:
        """Raises FrameTooLarge or FrameTooSmall."""
        if width * height > self.max_pixels or max(width, height) > self.max_side_px:
            raise FrameTooLarge(
                f"the frame is {width}x{height} and at most {self.max_pixels / 1e6:.1f} megapixels and "
                f"{self.max_side_px} px a side are taken; scale the video down, 1920x1080 is plenty",
                width=width,
                height=height,
                limit_pixels=self.max_pixels,
            )
        if min(width, height) < self.min_side_px:
            raise FrameTooSmall(
                f"the frame is {width}x{height} and each side must have at least {self.min_side_px} px; "
                "use the video in its original size",
                width=width,
                height=height,
                limit_px=self.min_side_px,
            )

    def check_duration(self, duration_seconds: float) -> None:
        """Raises VideoTooLong."""
        if duration_seconds > self.max_duration_seconds:
            raise VideoTooLong(
                f"the video lasts {duration_seconds:.1f} s and at most {self.max_duration_seconds:.0f} s are taken; "
                "choose a part with a start and an end, or a most number of frames",
                duration_seconds=f"{duration_seconds:.3f}",
                limit_seconds=self.max_duration_seconds,
            )

    def check_frame_count(self, frame_count: int) -> None:
        """Raises VideoTooShort."""
        if frame_count < self.min_frames:
            raise VideoTooShort(
                f"the chosen part of the video has {frame_count} frame{'' if frame_count == 1 else 's'} and at least "
                f"{self.min_frames} are needed; a photograph is enough only for the target of a draft",
                frame_count=frame_count,
                limit_frames=self.min_frames,
            )
