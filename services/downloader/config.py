"""Settings of the downloader: UNDERSTUDY_* for what every service has, UNDERSTUDY_DOWNLOADER_* for its own."""

from __future__ import annotations

from pydantic import Field

from services.common.settings import ServiceSettings
from services.common.video import VideoLimits

_MIB = 1024 * 1024


class DownloaderSettings(ServiceSettings):
    """What may come in, and what bringing it in may cost."""

    downloader_allow_private_addresses: bool = False
    """Lets downloads reach loopback and private networks: for tests, and for intranets that are trusted."""
    downloader_sites: bool = True
    """Asks yt-dlp when an address is a web page and not a video."""
    downloader_max_bytes: int = Field(default=2048 * _MIB, ge=1)
    """Largest file, downloaded or uploaded."""
    downloader_max_duration_seconds: float = Field(default=1800.0, gt=0)
    """Longest part of a video that is taken."""
    downloader_max_pixels: int = Field(default=4096 * 2304, ge=64 * 64)
    """Largest frame, width times height."""
    downloader_min_side_px: int = Field(default=64, ge=16)
    """Shortest side of a frame."""
    downloader_connect_timeout_seconds: float = Field(default=10.0, gt=0)
    """Longest wait for a connection."""
    downloader_read_timeout_seconds: float = Field(default=20.0, gt=0)
    """Longest silence of the other side."""
    downloader_total_timeout_seconds: float = Field(default=1800.0, gt=0)
    """Longest download in all."""
    downloader_max_redirects: int = Field(default=5, ge=0)
    """Redirects that are followed, each to an address that is checked as the first one."""
    downloader_decoder_memory_bytes: int = Field(default=4096 * _MIB, ge=512 * _MIB)
    """Address space of the decoder's process."""
    downloader_decoder_silence_seconds: float = Field(default=60.0, gt=0)
    """A decoder that says nothing for so long hangs, and is ended."""
    downloader_decoder_timeout_seconds: float = Field(default=7200.0, gt=0)
    """Longest decoding in all."""

    @property
    def limits(self) -> VideoLimits:
        return VideoLimits(
            max_bytes=self.downloader_max_bytes,
            max_duration_seconds=self.downloader_max_duration_seconds,
            max_pixels=self.downloader_max_pixels,
            min_side_px=self.downloader_min_side_px,
        )
