"""Settings that every process has. Read once, at the start, from UNDERSTUDY_* variables; never from elsewhere."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.store import ObjectStore, open_store


class ServiceSettings(BaseSettings):
    """What a stage service needs to know. A service's own settings are a subclass in its `config.py`."""

    model_config = SettingsConfigDict(
        env_prefix="UNDERSTUDY_", frozen=True, extra="ignore", secrets_dir=None, use_attribute_docstrings=True
    )

    store_url: str = Field(min_length=1)
    """file:///folder or s3://host:port/bucket."""
    store_access_key: SecretStr = SecretStr("")
    """Who this process is to an S3 store."""
    store_secret_key: SecretStr = SecretStr("")
    """The secret of that access key."""
    cache_dir: Path = Path(tempfile.gettempdir()) / "understudy-cache"
    """Copies of objects of a distant store; may vanish at any time."""
    weights_dir: Path = Path(sys.prefix) / "share" / "understudy" / "weights"
    """Networks of the models, as `python -m services.common.weights prepare` leaves them."""
    listen_host: str = "127.0.0.1"
    """Address that it answers on; 0.0.0.0 for all of the machine's."""
    listen_port: int = Field(default=0, ge=0, le=65535)
    """Port of gRPC; 0 takes any free one."""
    metrics_port: int = Field(default=0, ge=-1, le=65535)
    """Port of /metrics; 0 takes any free one, -1 serves none."""
    probe_port: int = Field(default=-1, ge=-1, le=65535)
    """Port that answers gRPC health and nothing else, in the clear, for probes that speak no TLS; -1 for none."""
    tls_certificate_file: Path | None = None
    """PEM chain of this process, for the host names it is called by; with it and its key a service speaks TLS alone."""
    tls_key_file: Path | None = None
    """PEM of the private key of that certificate."""
    tls_ca_file: Path | None = None
    """PEM of the authorities that the other side's certificate must come from; with it the gateway calls by TLS."""
    tls_verify_clients: bool = False
    """A service answers only callers that show a certificate of `tls_ca_file`'s authorities."""
    slots: int = Field(default=1, ge=1, le=64)
    """Computations at the same time."""
    grace_seconds: float = Field(default=20.0, ge=0)
    """Time for running work to stop after SIGTERM."""
    parent_pipe: int = -1
    """File descriptor that reaches its end when the process that started this one is gone; -1 for none."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or lines for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is less than this is not logged."""
    otlp_endpoint: str = ""
    """OpenTelemetry collector (OTLP over HTTP); empty sends no traces."""

    def open_store(self) -> ObjectStore:
        return open_store(
            self.store_url, self.store_access_key.get_secret_value(), self.store_secret_key.get_secret_value()
        )
