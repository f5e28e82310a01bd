"""Any site that yt-dlp knows. It runs in a process of its own, in which private addresses do not resolve."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import ClassVar

from services.common.errors import DownloadFailed
from services.common.stage import Job
from services.downloader.addresses import parse
from services.downloader.child import Child
from services.downloader.config import DownloaderSettings
from services.downloader.sources.base import NotAVideo


class SiteSource:
    """Web pages that hold a video."""

    name: ClassVar[str] = "yt-dlp"

    def __init__(self, settings: DownloaderSettings) -> None:
        self._settings = settings

    def matches(self, url: str) -> bool:
        return url.lower().startswith(("http://", "https://")) and importlib.util.find_spec("yt_dlp") is not None

    def fetch(self, url: str, destination: Path, job: Job) -> None:
        """See `Source.fetch`. Raises NotAVideo, DownloadFailed, DownloadTimedOut, UnsafeAddress, FileTooLarge."""
        parse(url)
        request = {
            "url": url,
            "destination": str(destination),
            "max_bytes": self._settings.downloader_max_bytes,
            "timeout_seconds": self._settings.downloader_read_timeout_seconds,
            "allow_private": self._settings.downloader_allow_private_addresses,
        }
        child = Child(
            "services.downloader.site_process",
            request,
            memory_bytes=self._settings.downloader_decoder_memory_bytes,
            silence_seconds=3 * self._settings.downloader_read_timeout_seconds,
            timeout_seconds=self._settings.downloader_total_timeout_seconds,
        )
        try:
            for message in child.messages(job):
                if progress := message.get("progress"):
                    job.progress(int(progress["done"]), int(progress["total"]), "bytes", "downloading")
        except DownloadFailed as error:
            raise NotAVideo(error.message, **error.metadata) from error
