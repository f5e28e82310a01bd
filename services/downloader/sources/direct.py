"""A video at an http or https address.

Every hop is parsed, resolved, judged and connected to by number; bytes, time, silence and redirects are bounded, and
proxies of the environment are not used, for they would resolve names themselves.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin

from services.common.errors import DownloadFailed, DownloadTimedOut, FileTooLarge, UnderstudyError
from services.common.stage import Job
from services.downloader.addresses import Target, parse, resolve
from services.downloader.config import DownloaderSettings
from services.downloader.sources.base import NotAVideo

_CHUNK = 256 * 1024
_TELL_SECONDS = 0.2
_MIB = 1024 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "Understudy/0.1 (+video downloader)"
_NO_VIDEO = ("text/", "image/", "application/json", "application/xml", "application/xhtml", "application/pdf")


class DirectSource:
    """The file that an address names."""

    name: ClassVar[str] = "direct"

    def __init__(self, settings: DownloaderSettings) -> None:
        self._settings = settings

    def matches(self, url: str) -> bool:
        return url.partition(":")[0].lower() in {"http", "https"}

    def fetch(self, url: str, destination: Path, job: Job) -> None:
        """See `Source.fetch`. Raises DownloadFailed, DownloadTimedOut, UnsafeAddress, FileTooLarge, NotAVideo."""
        deadline = time.monotonic() + self._settings.downloader_total_timeout_seconds
        for _ in range(self._settings.downloader_max_redirects + 1):
            target = parse(url)
            with _Guard(target, self._connect(target), deadline, self._settings, job) as guard:
                location = self._one_hop(guard, target, destination, job)
            if location is None:
                return
            url = urljoin(url, location)
        raise DownloadFailed(
            f"the address redirects more than {self._settings.downloader_max_redirects} times; "
            "give the one where it ends",
            limit=self._settings.downloader_max_redirects,
        )

    def _connect(self, target: Target) -> http.client.HTTPConnection:
        allowed = self._settings.downloader_allow_private_addresses
        addresses = resolve(target.host, target.port, allow_private=allowed)
        return _Pinned(target, addresses, self._settings.downloader_connect_timeout_seconds)

    def _one_hop(self, guard: _Guard, target: Target, destination: Path, job: Job) -> str | None:
        """Asks once. Returns where to go next, or None when the body lies at `destination`."""
        headers = {"Host": target.authority, "User-Agent": _USER_AGENT, "Accept": "video/*, */*;q=0.5",
                   "Accept-Encoding": "identity"}  # fmt: skip
        guard.connection.request("GET", target.path, headers=headers)
        guard.sock = guard.connection.sock
        if guard.sock is not None:
            guard.sock.settimeout(self._settings.downloader_read_timeout_seconds)
        with closing(guard.connection.getresponse()) as response:
            if response.status in _REDIRECTS and (location := response.getheader("Location")):
                return location
            self._check_answer(response, target)
            self._save(response, destination, job)
        return None

    def _check_answer(self, response: http.client.HTTPResponse, target: Target) -> None:
        if response.status != 200:
            raise DownloadFailed(
                f"{target.host} answered {response.status} {response.reason}; check that the address can be opened "
                "without logging in",
                host=target.host,
                status=response.status,
            )
        content_type = (response.getheader("Content-Type") or "").lower()
        if content_type.startswith(_NO_VIDEO):
            raise NotAVideo(
                f"the address holds {content_type.partition(';')[0]}, not a video; give the video's own address",
                content_type=content_type,
            )
        if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
            raise DownloadFailed("the server compresses the video although it was asked not to", host=target.host)
        if response.length is not None and response.length > self._settings.downloader_max_bytes:
            raise self._too_large(f"the file has {response.length / _MIB:.0f} MiB")

    def _save(self, response: http.client.HTTPResponse, destination: Path, job: Job) -> None:
        total, done, told = response.length or 0, 0, 0.0
        with destination.open("wb") as file:
            while chunk := response.read1(_CHUNK):
                done += len(chunk)
                if done > self._settings.downloader_max_bytes:
                    raise self._too_large(f"more than {done / _MIB:.0f} MiB came and no end")
                file.write(chunk)
                job.check()
                if time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    job.progress(done, total, "bytes", "downloading")
        job.progress(done, total, "bytes", "downloading")
        if response.length:
            raise DownloadFailed(
                f"the connection broke after {done} of {total} bytes; try again", done_bytes=done, total_bytes=total
            )
        if not done:
            raise DownloadFailed("the answer is empty (0 bytes); check the address", done_bytes=0)

    def _too_large(self, what: str) -> FileTooLarge:
        limit = self._settings.downloader_max_bytes
        return FileTooLarge(f"{what}, and at most {limit / _MIB:.0f} MiB are taken", limit_bytes=limit)


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the judged addresses; the certificate is checked against the name."""

    def __init__(self, target: Target, addresses: list[str], timeout_seconds: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_seconds)
        self._target, self._addresses = target, addresses

    def connect(self) -> None:
        last: OSError | None = None
        for address in self._addresses[:4]:
            try:
                sock = socket.create_connection((address, self.port), self.timeout)
            except OSError as error:
                last = error
                continue
            if self._target.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self._target.host)
            self.sock = sock
            return
        raise last or OSError("no address to connect to")


class _Guard:
    """Ends a connection that takes too long or that nobody waits for, and gives its failures their names.

    The socket's own timeout bounds silence only; a server that sends one byte now and then needs a clock from outside.
    """

    def __init__(
        self,
        target: Target,
        connection: http.client.HTTPConnection,
        deadline: float,
        settings: DownloaderSettings,
        job: Job,
    ) -> None:
        self.connection = connection
        self.sock: socket.socket | None = None
        self._target, self._deadline, self._settings, self._job = target, deadline, settings, job
        self._over = threading.Event()
        self._cut_off = False
        self._thread = threading.Thread(target=self._watch, name="download-guard", daemon=True)

    def __enter__(self) -> _Guard:
        self._thread.start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._over.set()
        self._thread.join()
        self.connection.close()
        host = self._target.host
        if self._cut_off:
            # Whatever the cut looked like to the reader: an error, or an early end.
            self._job.check()
            seconds = self._settings.downloader_total_timeout_seconds
            raise DownloadTimedOut(
                f"the download from {host} took more than {seconds:g} s; try another server", host=host
            ) from error
        if error is None or isinstance(error, UnderstudyError):
            return
        if isinstance(error, TimeoutError):
            raise DownloadTimedOut(
                f"{host} did not connect within {self._settings.downloader_connect_timeout_seconds:g} s or was silent "
                f"for {self._settings.downloader_read_timeout_seconds:g} s; try later",
                host=host,
            ) from error
        if isinstance(error, OSError | http.client.HTTPException):
            raise DownloadFailed(f"{host} cannot be read from ({error or type(error).__name__})", host=host) from error

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            if time.monotonic() >= self._deadline or self._job.stopped:
                self._cut_off = True
                sock = self.sock or self.connection.sock
                if sock is not None:
                    try:
                        sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass  # it is closed already
