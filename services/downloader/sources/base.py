"""What every source is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from services.common.errors import DownloadFailed
from services.common.stage import Job


class NotAVideo(DownloadFailed):
    """The address answers, and not with a video: another source may know what to do with it."""


class Source(Protocol):
    """One way to get the bytes of a video."""

    name: ClassVar[str]

    def matches(self, url: str) -> bool:
        """Whether it is worth asking; quick, asks nobody."""

    def fetch(self, url: str, destination: Path, job: Job) -> None:
        """Writes the bytes to `destination`, reporting progress in bytes.

        Raises NotAVideo when another source should be tried; any other error ends the download.
        """
