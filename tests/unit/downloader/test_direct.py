from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.common import errors
from services.common.stage import Job, Progress
from services.downloader.config import DownloaderSettings
from services.downloader.sources import fetch, sources_for
from services.downloader.sources.direct import DirectSource
from tests.support.http import web_server


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.mp4").write_bytes(b"video" * 10_000)
    with web_server(tmp_path / "served") as url:
        yield url


def _settings(**changes: Any) -> DownloaderSettings:
    return DownloaderSettings(
        store_url="memory://",
        downloader_allow_private_addresses=changes.pop("allow", True),
        **{
            "downloader_read_timeout_seconds": 0.5,
            "downloader_total_timeout_seconds": 5.0,
            "downloader_max_bytes": 1_000_000,
            "downloader_sites": False,
            **changes,
        },
    )


def _get(url: str, destination: Path, **changes: Any) -> bytes:
    DirectSource(_settings(**changes)).fetch(url, destination, Job())
    return destination.read_bytes()


def test_a_file_arrives_whole(address: str, tmp_path: Path) -> None:
    said: list[Any] = []
    DirectSource(_settings()).fetch(f"{address}/file/a.mp4", tmp_path / "got", Job(said.append))
    assert (tmp_path / "got").read_bytes() == b"video" * 10_000
    assert said[-1] == Progress(50_000, 50_000, "bytes", "downloading")


def test_redirects_are_followed(address: str, tmp_path: Path) -> None:
    assert len(_get(f"{address}/redirect/{address}/file/a.mp4", tmp_path / "got")) == 50_000
    assert len(_get(f"{address}/redirect//file/a.mp4", tmp_path / "got")) == 50_000


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("missing", errors.DownloadFailed, "answered 404 Not Found"),
        ("page", errors.DownloadFailed, "holds text/html, not a video"),
        ("empty", errors.DownloadFailed, "empty"),
        ("loop", errors.DownloadFailed, "redirects more than 5 times"),
        ("hang", errors.DownloadTimedOut, r"silent for 0\.5 s"),
        ("endless", errors.FileTooLarge, "came and no end"),
        ("huge", errors.FileTooLarge, "the file has 9536743 MiB"),
        ("broken", errors.DownloadFailed, "broke after 1000 of 5000 bytes"),
        ("gzip", errors.DownloadFailed, "compresses"),
        ("redirect/file:///etc/passwd", errors.UnsafeAddress, "not an http or https"),
    ],
)
def test_what_goes_wrong_has_its_own_error(
    address: str, tmp_path: Path, path: str, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        _get(f"{address}/{path}", tmp_path / "got")
    assert type(caught.value) is kind or path == "page"


@pytest.mark.parametrize("path", ["drip", "slowheader"])
def test_a_server_that_never_falls_silent_is_cut_off(address: str, tmp_path: Path, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(errors.DownloadTimedOut, match=r"took more than 0\.8 s"):
        _get(f"{address}/{path}", tmp_path / "got", downloader_total_timeout_seconds=0.8)
    assert time.monotonic() - started < 20


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(errors.DownloadFailed, match="cannot be read from"):
        _get("http://127.0.0.1:1/", tmp_path / "got")
    with pytest.raises(errors.DownloadFailed, match="cannot be found"):
        _get("http://no.such.host.invalid/", tmp_path / "got")


def test_private_addresses_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(errors.UnsafeAddress, match=r"127\.0\.0\.1 is 127\.0\.0\.1"):
        _get(f"{address}/file/a.mp4", tmp_path / "got", allow=False)
    assert not (tmp_path / "got").exists()


def test_a_redirect_to_a_private_address_is_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the first hop's address is taken for public: what the redirect names must be judged anew.
    from services.downloader import addresses

    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda ip: str(ip) == "127.0.0.1" or real(ip))
    assert _get(f"{address}/file/a.mp4", tmp_path / "got", allow=False)
    for target in ("http://127.0.0.2/", "http://169.254.169.254/latest/meta-data/", "http://[::1]:80/"):
        with pytest.raises(errors.UnsafeAddress):
            _get(f"{address}/redirect/{target}", tmp_path / "got", allow=False)


def test_cancelling_ends_a_silent_download(address: str, tmp_path: Path) -> None:
    job = Job()
    threading.Timer(0.3, job.stop, [errors.Cancelled("enough")]).start()
    with pytest.raises(errors.Cancelled):
        DirectSource(_settings(downloader_read_timeout_seconds=30)).fetch(f"{address}/hang", tmp_path / "got", job)


def test_proxies_of_the_environment_are_not_used(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert len(_get(f"{address}/file/a.mp4", tmp_path / "got")) == 50_000


def test_refusals_are_reported_together(address: str, tmp_path: Path) -> None:
    settings = _settings(downloader_sites=True, downloader_total_timeout_seconds=60, downloader_read_timeout_seconds=20)
    with pytest.raises(errors.DownloadFailed, match=r"direct: the address holds text/html.*; yt-dlp: no video found"):
        fetch(f"{address}/page", tmp_path / "got", sources_for(settings), Job())
    with pytest.raises(errors.DownloadFailed, match="nothing here can download"):
        fetch("gopher://example.com", tmp_path / "got", sources_for(settings), Job())


def test_sites_cannot_reach_private_addresses(address: str, tmp_path: Path) -> None:
    settings = _settings(allow=False, downloader_sites=True, downloader_read_timeout_seconds=20)
    _, sites = sources_for(settings)
    with pytest.raises(errors.UnsafeAddress, match=r"127\.0\.0\.1"):
        sites.fetch(f"{address}/page", tmp_path / "got", Job())
