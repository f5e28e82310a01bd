"""TLS for gRPC, from certificate files that the settings name."""

from __future__ import annotations

from pathlib import Path

import grpc

from services.common.errors import InvalidOption
from services.common.settings import ServiceSettings


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """What a server listens with; None listens in the clear. Raises InvalidOption for files that cannot be used."""
    if not settings.tls_certificate_file:
        return None
    root = _read(settings.tls_ca_file) if settings.tls_verify_clients else None
    return credentials_of(settings.tls_certificate_file, settings.tls_key_file, root)


def credentials_of(certificate: Path | None, key: Path | None, root: bytes | None = None) -> grpc.ServerCredentials:
    """With `root`, callers must show a certificate that it signed."""
    pair = (_read(key), _read(certificate))
    return grpc.ssl_server_credentials([pair], root_certificates=root, require_client_auth=root is not None)


def channel_credentials(settings: ServiceSettings) -> grpc.ChannelCredentials | None:
    """What a client calls services with, showing this process's own certificate where it has one; None in the clear."""
    if not settings.tls_ca_file:
        return None
    own = bool(settings.tls_certificate_file)
    return grpc.ssl_channel_credentials(
        root_certificates=_read(settings.tls_ca_file),
        private_key=_read(settings.tls_key_file) if own else None,
        certificate_chain=_read(settings.tls_certificate_file) if own else None,
    )


def _read(path: Path | None) -> bytes:
    if path is None:
        raise InvalidOption(
            "TLS needs UNDERSTUDY_TLS_CERTIFICATE_FILE with _KEY_FILE, and _CA_FILE to verify the other side"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidOption(f"cannot read {path}: {error.strerror}", path=path) from error
