from __future__ import annotations

import ipaddress

import pytest

from services.common.errors import DownloadFailed, UnsafeAddress
from services.downloader.addresses import check_all_public, is_public, parse, resolve


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8",
                                  "64:ff9b::808:808"])  # fmt: skip
def test_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1",
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "2001:db8::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::",
    ],
)  # fmt: skip
def test_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://017700000001/", "http://127.1/",
        "http://localhost/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0/",
    ],
)  # fmt: skip
def test_every_spelling_of_loopback_is_refused(url: str) -> None:
    target = parse(url)
    with pytest.raises((UnsafeAddress, DownloadFailed)):
        resolve(target.host, target.port, allow_private=False)


def test_the_refusal_says_which_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsafeAddress, match=r"localhost is 127\.0\.0\.1"):
        resolve("localhost", 80, allow_private=False)
    assert resolve("127.0.0.1", 80, allow_private=True) == ["127.0.0.1"]


def test_a_name_that_is_half_private_is_refused() -> None:
    with pytest.raises(UnsafeAddress):
        check_all_public("two.example", ["8.8.8.8", "10.0.0.1"], allow_private=False)
    check_all_public("two.example", ["8.8.8.8", "1.1.1.1"], allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/a", "gopher://example.com/", "//example.com/a", "example.com", "http://",
        "http://user:secret@example.com/", "http://example.com:99999/", "http://exa mple.com/",
        "http://a.example/\r\nX: y",
        "http://example.com/" + "a" * 5000, "javascript:alert(1)", "http://[::1",
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UnsafeAddress):
        parse(url)


def test_parts_of_an_address() -> None:
    target = parse("https://Example.com:8443/a%20b?x=1#there")
    assert (target.scheme, target.host, target.port, target.path) == ("https", "example.com", 8443, "/a%20b?x=1")
    assert target.authority == "example.com:8443"
    assert parse("http://example.com").path == "/"
    assert parse("http://bücher.example/").host == "xn--bcher-kva.example"
    assert parse("http://[2606:2800::1]/").authority == "[2606:2800::1]"
