"""Where videos come from. A source is a class; this list is their order, and the first that can, does."""

from __future__ import annotations

from pathlib import Path

from services.common.errors import DownloadFailed
from services.common.stage import Job
from services.downloader.config import DownloaderSettings
from services.downloader.sources.base import NotAVideo, Source
from services.downloader.sources.direct import DirectSource
from services.downloader.sources.sites import SiteSource

__all__ = ["NotAVideo", "Source", "fetch", "sources_for"]


def sources_for(settings: DownloaderSettings) -> list[Source]:
    """All sources in the order in which they are asked."""
    sources: list[Source] = [DirectSource(settings)]
    if settings.downloader_sites:
        sources.append(SiteSource(settings))
    return sources


def fetch(url: str, destination: Path, sources: list[Source], job: Job) -> None:
    """Brings a video's bytes to `destination` from the first source that has them.

    Sources that find no video there are asked in order and their answers are reported together. Raises
    DownloadFailed, DownloadTimedOut, UnsafeAddress, FileTooLarge, and what `job.check` raises.
    """
    refusals: list[str] = []
    for source in sources:
        if not source.matches(url):
            continue
        try:
            source.fetch(url, destination, job)
        except NotAVideo as refusal:
            destination.unlink(missing_ok=True)
            refusals.append(f"{source.name}: {refusal.message}")
        else:
            return
    raise DownloadFailed("; ".join(refusals) or f"nothing here can download {url[:200]}", url=url[:200])
