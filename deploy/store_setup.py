"""Prepares the object store of a deployment: `python -m deploy.store_setup`. Safe to run again.

Makes the bucket when there is none, one user a service with no more rights than its work needs (MinIO, where the
administrator's credentials are given and the services' are to be made), and puts the networks into it.
"""

from __future__ import annotations

import sys
import time
from urllib.parse import parse_qs, urlsplit

import urllib3
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.error import MinioException
from minio.minioadmin import MinioAdmin
from pydantic import SecretStr

from deploy.store_policies import USERS, policy
from services.common import weights
from services.common.errors import UnderstudyError
from services.common.settings import ServiceSettings
from services.common.telemetry import configure_logging, logger

_log = logger(__name__)
_NONE = SecretStr("")


class StoreSetupSettings(ServiceSettings):
    """`store_access_key` is the administrator's. A service whose secret key is empty gets no user."""

    setup_patience_seconds: float = 300.0
    """How long to wait for a store that does not answer yet."""
    downloader_store_secret_key: SecretStr = _NONE
    """Secret that the user `downloader` gets."""
    pose_store_secret_key: SecretStr = _NONE
    """Secret that the user `pose` gets."""
    segmentation_store_secret_key: SecretStr = _NONE
    """Secret that the user `segmentation` gets."""
    normalization_store_secret_key: SecretStr = _NONE
    """Secret that the user `normalization` gets."""
    trainer_store_secret_key: SecretStr = _NONE
    """Secret that the user `trainer` gets."""
    renderer_store_secret_key: SecretStr = _NONE
    """Secret that the user `renderer` gets."""
    gateway_store_secret_key: SecretStr = _NONE
    """Secret that the user `gateway` gets."""

    def secret_key(self, user: str) -> str:
        return str(getattr(self, f"{user}_store_secret_key").get_secret_value())


def set_up(settings: StoreSetupSettings) -> None:
    """Raises what the store's clients raise; everything done before stays and is found done the next time."""
    parts = urlsplit(settings.store_url)
    query = parse_qs(parts.query)
    secure = query.get("secure", ["true"])[0] != "false"
    region = query.get("region", ["us-east-1"])[0]
    bucket, _, prefix = parts.path.strip("/").partition("/")
    access, secret = settings.store_access_key.get_secret_value(), settings.store_secret_key.get_secret_value()
    client = Minio(parts.netloc, access_key=access, secret_key=secret, secure=secure, region=region)
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
        _log.info("made the bucket", bucket=bucket)
    wanted = [user for user in USERS if settings.secret_key(user)]
    if wanted:
        admin = MinioAdmin(
            endpoint=parts.netloc, credentials=StaticProvider(access, secret), region=region, secure=secure
        )
        for user in wanted:
            admin.policy_add(f"understudy-{user}", policy=policy(user, bucket, prefix))
            admin.user_add(user, settings.secret_key(user))
            admin.policy_set(f"understudy-{user}", user=user)
        _log.info("made the services' users", users=wanted)
    _log.info("published", networks=weights.publish(settings.weights_dir, settings.open_store()))


def main() -> int:
    settings = StoreSetupSettings()
    configure_logging("store-setup", settings.log_format, settings.log_level)
    deadline = time.monotonic() + settings.setup_patience_seconds
    while True:
        try:
            set_up(settings)
        except (UnderstudyError, MinioException, urllib3.exceptions.HTTPError) as error:
            _log.warning("not yet", error=str(error))
            if time.monotonic() >= deadline:
                return 1
            time.sleep(2)
        else:
            return 0


if __name__ == "__main__":
    sys.exit(main())
