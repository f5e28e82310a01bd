"""Which addresses may be downloaded from: public ones, judged by the number that a name resolves to.

A name is resolved once, all of its addresses are judged, and the connection is made to a judged number, so that an
answer that changes between the look and the connection (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.common.errors import DownloadFailed, UnsafeAddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# In public ranges, and yet answered by the cloud's own host: Azure's WireServer.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
# Special-purpose ranges (IANA) that some releases of Python call global.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "100::/64",
        "3fff::/20",
        "5f00::/16",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL_CHARACTERS = 4096


@dataclass(frozen=True)
class Target:
    """A parsed address. `host` is the name as written, in ASCII; `path` is what is asked for."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Raises UnsafeAddress for anything but a plain http or https address."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna" if not _is_ascii(parts.hostname or "") else "ascii").decode()
    except (ValueError, UnicodeError) as error:
        raise UnsafeAddress(f"not an address: {url[:200]!r}", url=url[:200]) from error
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise UnsafeAddress(
            f"{url[:200]!r} is not an http or https address; give one, or the file itself", scheme=parts.scheme
        )
    if parts.username is not None or parts.password is not None:
        raise UnsafeAddress("an address must not hold a user name or password; give one without", host=host)
    if len(url) > _MAX_URL_CHARACTERS or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise UnsafeAddress(
            f"the address has blanks or more than {_MAX_URL_CHARACTERS} characters; encode or shorten it", host=host
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path.encode("utf-8").decode("latin-1"))


def _is_ascii(text: str) -> bool:
    return all(ord(letter) < 128 for letter in text)


def is_public(address: IPAddress) -> bool:
    """Whether an address is somebody else's on the public internet. Addresses inside addresses are looked into."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        inner = [address.sixtofour, *(address.teredo or ())]
        if any(found is not None and not is_public(found) for found in inner) or address.is_site_local:
            return False
    if address in _METADATA or any(address in network for network in _SPECIAL):
        return False
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    return address.is_global


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Addresses that may be connected to, best first. Raises UnsafeAddress, DownloadFailed (no such name)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise DownloadFailed(f"{host} cannot be found ({error}); check the address", host=host) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    check_all_public(host, addresses, allow_private=allow_private)
    return addresses


def check_all_public(host: str, addresses: list[str], *, allow_private: bool) -> None:
    """Raises UnsafeAddress when one of the addresses is not public: a name that is half private is a trick."""
    if allow_private:
        return
    for text in addresses:
        if not is_public(ipaddress.ip_address(text.partition("%")[0])):
            raise UnsafeAddress(
                f"{host} is {text}, an address inside a private network or of this machine, and is not asked; "
                "give a public address, or upload the file (UNDERSTUDY_DOWNLOADER_ALLOW_PRIVATE_ADDRESSES=true "
                "lets a trusted intranet in)",
                host=host,
                address=text,
            )
