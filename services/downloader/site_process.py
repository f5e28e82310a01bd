"""A child process that lets yt-dlp download one video. Names that resolve to private addresses do not exist here."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from services.common.errors import DownloadFailed, FileTooLarge, UnsafeAddress
from services.downloader.addresses import check_all_public
from services.downloader.child_side import say, serve


def forbid_private_addresses() -> list[UnsafeAddress]:
    """Makes every later resolution in this process fail for private addresses; yt-dlp connects to what it returns.

    Returns a list that the refusals are put into, for yt-dlp does not always pass them on.
    """
    resolve = socket.getaddrinfo
    refusals: list[UnsafeAddress] = []

    def judged(host: Any, *arguments: Any, **options: Any) -> Any:
        found = resolve(host, *arguments, **options)
        try:
            check_all_public(str(host), [str(entry[4][0]) for entry in found], allow_private=False)
        except UnsafeAddress as refusal:
            refusals.append(refusal)
            raise
        return found

    socket.getaddrinfo = judged
    return refusals


def download(request: dict[str, Any]) -> None:
    """Downloads `url` to `destination`. Raises DownloadFailed, FileTooLarge, UnsafeAddress."""
    refusals = [] if request["allow_private"] else forbid_private_addresses()
    import yt_dlp  # a second to import, and only when a page has to be read

    limit = int(request["max_bytes"])

    def progress(state: dict[str, Any]) -> None:
        done = int(state.get("downloaded_bytes") or 0)
        if done > limit:
            raise FileTooLarge(f"the video has more than {limit} bytes", limit_bytes=limit)
        say({"progress": {"done": done, "total": int(state.get("total_bytes") or 0)}})

    options = {
        "outtmpl": {"default": request["destination"].replace("%", "%%")},
        "format": "best[vcodec!=none][acodec!=none][height<=1080]/best[vcodec!=none]/best",
        "max_filesize": limit,
        "socket_timeout": request["timeout_seconds"],
        "progress_hooks": [progress],
        "logger": _Quiet(),
        "noplaylist": True,
        "playlist_items": "1",
        "nopart": True,
        "overwrites": True,
        "cachedir": False,
        "proxy": "",
        "enable_file_urls": False,
        "retries": 2,
        "hls_prefer_native": True,
        "fixup": "never",
    }
    try:
        with yt_dlp.YoutubeDL(options) as site:
            site.extract_info(request["url"], download=True)
    except yt_dlp.utils.YoutubeDLError as error:
        if refusals:
            raise refusals[0] from error
        _raise_cause(error)
    if not Path(request["destination"]).is_file():
        raise DownloadFailed("the site gave no file; the video may be too large or protected")
    say({"done": True})


def _raise_cause(error: Exception) -> None:
    """Our own errors come back wrapped by yt-dlp's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FileTooLarge):
            raise cause
        info = getattr(cause, "exc_info", None)
        cause = cause.__cause__ or cause.__context__ or (info[1] if info and info[1] is not cause else None)
    raise DownloadFailed(f"no video found ({str(error)[:300]})") from error


class _Quiet:
    """yt-dlp's logger: standard output belongs to the parent."""

    def debug(self, message: str) -> None:
        """Dropped."""

    warning = debug

    def error(self, message: str) -> None:
        sys.stderr.write(message + "\n")


if __name__ == "__main__":
    serve(download)
