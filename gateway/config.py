"""Settings of the gateway."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from services.common.settings import ServiceSettings

_SHORTEST_ADMIN_KEY = 32
STAGE_SERVICES = ("downloader", "pose", "segmentation", "normalization", "trainer", "renderer")


class GatewaySettings(ServiceSettings):
    """What the gateway needs to know, UNDERSTUDY_*. `listen_port` is gRPC's."""

    database_url: str = Field(min_length=1)
    """sqlite:///path, or postgresql://user:secret@host/name, which several gateways may share."""
    workflow_database_url: str = ""
    """Where workflows are recorded; empty takes `database_url`."""
    http_port: int = Field(default=0, ge=0, le=65535)
    """Port of HTTP/JSON; 0 takes any free one."""
    downloader_address: str = "127.0.0.1:50051"
    """host:port of the downloader; like the others below, the name may stand for many workers: all are used."""
    pose_address: str = "127.0.0.1:50052"
    """host:port of pose."""
    segmentation_address: str = "127.0.0.1:50053"
    """host:port of segmentation."""
    normalization_address: str = "127.0.0.1:50054"
    """host:port of normalization."""
    trainer_address: str = "127.0.0.1:50055"
    """host:port of the trainer."""
    renderer_address: str = "127.0.0.1:50056"
    """host:port of the renderer."""
    executor_id: str = "gateway-0"
    """Stable over restarts of one replica: unfinished transfers are recovered by it."""
    run_transfers: bool = True
    """False only reads and deletes: no transfer is begun or recovered."""
    foreground_request_id: str = ""
    """Set when one command line run is the only user: its own transfer goes on, any other interrupted one waits
    for its own command."""
    concurrent_transfers: int = Field(default=2, ge=1)
    """Transfers at work at once in this gateway; the others wait in the database."""
    concurrent_shards: int = Field(default=0, ge=0)
    """Shards under way at once in one stage, over all transfers of this gateway; 0 follows the number of workers."""
    max_upload_bytes: int = Field(default=8 << 30, ge=1)
    """A larger upload is refused."""
    call_timeout_seconds: float = Field(default=900.0, gt=0)
    """Longest one call on one shard or clip may take."""
    silence_timeout_seconds: float = Field(default=180.0, gt=0)
    """A long call that says nothing for this long is taken for hung and made again."""
    retry_seconds: float = Field(default=120.0, ge=0)
    """How long a call that fails for a passing reason is tried again, counted from its last progress."""
    database_retry_seconds: float = Field(default=300.0, ge=0)
    """How long a transfer at work waits for a database that is away; users are told at once."""
    spool_dir: Path = Path(tempfile.gettempdir())
    """Uploads are spooled here while they are hashed."""
    door_certificate_file: Path | None = None
    """PEM chain for the gateway's own two ports; with it and its key users reach it by https and by gRPC over TLS."""
    door_key_file: Path | None = None
    """PEM of the private key of that certificate."""
    api_keys: Literal["auto", "on", "off"] = "auto"
    """Whether callers need an API key; "auto" asks for one unless only this machine can reach the gateway."""
    admin_key: SecretStr = SecretStr("")
    """A key that may do everything and is in no table, at least 32 characters; empty for none."""
    retention_intermediates_days: float = Field(default=0.0, ge=0)
    """Frames, poses, mattes of ended transfers, of performers and of clips are kept so long; 0: for ever. A performer
    keeps its target's frames, poses and camera, which it dances with."""
    retention_results_days: float = Field(default=0.0, ge=0)
    """Ended transfers and their results are kept so long; 0: for ever."""
    retention_performers_days: float = Field(default=0.0, ge=0)
    """Performers that have not danced for so long are deleted; 0: never."""
    gc_grace_seconds: float = Field(default=86_400.0, ge=0)
    """Housekeeping touches nothing that was written less than this ago."""
    gc_every_seconds: float = Field(default=0.0, ge=0)
    """Housekeeping by the gateway itself; 0: only by `understudy gc`."""
    allowed_hosts: str = "127.0.0.1,localhost,[::1]"
    """Host names, comma separated, that HTTP requests may be addressed to; * for any."""

    @field_validator("admin_key")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < _SHORTEST_ADMIN_KEY:
            raise ValueError(f"UNDERSTUDY_ADMIN_KEY needs at least {_SHORTEST_ADMIN_KEY} characters")
        return value

    @property
    def asks_for_keys(self) -> bool:
        loopback = self.listen_host == "localhost" or self.listen_host.startswith(("127.", "::1"))
        return self.api_keys == "on" or (self.api_keys == "auto" and not loopback)

    @property
    def workflow_url(self) -> str:
        return self.workflow_database_url or self.database_url

    def address_of(self, service: str) -> str:
        return str(getattr(self, f"{service}_address"))
