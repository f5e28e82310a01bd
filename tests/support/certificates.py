"""Certificates made for a test, by openssl: an authority, and what it signs."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for loopback. Without openssl the test fails in CI, and is skipped elsewhere."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            message = "needs openssl: apt-get install openssl"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        self._folder, self._name = folder, name
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate)  # fmt: skip

    def sign(self, name: str, names: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
        made = Certificate(self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key")
        request, extensions = made.key.with_suffix(".csr"), made.key.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)  # fmt: skip
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                 "-days", "2", "-extfile", extensions, "-out", made.certificate)  # fmt: skip
        return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
