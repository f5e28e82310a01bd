"""A network of its own for one test, in which a public address belongs to this machine."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

PUBLIC_ADDRESS = "93.184.216.34"
"""Somebody's on the real internet; here it is an alias of the loopback device."""

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR = 0x8913, 0x8914, 0x8916
_IFF_UP = 1

T = TypeVar("T")


def in_own_network(work: Callable[[], T]) -> T:
    """Runs `work` in a thread that, with all that it starts, sees nothing but loopback and PUBLIC_ADDRESS.

    Skips the test where this may not be done: it needs Linux and its CAP_SYS_ADMIN.
    """
    with ThreadPoolExecutor(1) as pool:
        reason = pool.submit(_enter).result()
        if reason:
            pytest.skip(f"a public address was not tried: a network namespace cannot be made here ({reason})")
        return pool.submit(work).result()


def _enter() -> str:
    """Moves this thread into a new network namespace. Returns why not, empty when it worked."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        return "not Linux"
    if libc.unshare(_CLONE_NEWNET) != 0:
        return os.strerror(ctypes.get_errno() or errno.EPERM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _bring_up(control, b"lo")
        address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(PUBLIC_ADDRESS))
        fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16s16s8x", b"lo:1", address))
        _bring_up(control, b"lo:1")
    return ""


def _bring_up(control: socket.socket, name: bytes) -> None:
    flags = struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", name, 0)))[1]
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | _IFF_UP))
