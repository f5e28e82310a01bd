"""A deployment's store, prepared on a real MinIO: what each service's own credentials let it do, and refuse it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from deploy.store_policies import USERS, policy
from deploy.store_setup import StoreSetupSettings, set_up
from services.common.errors import Forbidden
from services.common.store import ObjectStore, open_store
from services.common.weights import WEIGHTS, default_weights_dir
from tests.support.minio import MinioServer

SECRETS = {user: secrets.token_hex(20) for user in USERS}
KINDS = {
    "downloader": ("clip", "frame_shard"),
    "pose": ("people", "pose_shard", "pose_track", "result_poses"),
    "segmentation": ("camera_path", "matte_shard", "plate"),
    "normalization": ("driven_track",),
    "trainer": ("evaluation", "heldout", "performer"),
    "renderer": ("rendered_shard", "video"),
}
StoreOf = Callable[[str], ObjectStore]


@pytest.fixture(scope="module")
def store_of(minio_server: MinioServer) -> StoreOf:
    """The store of a fresh deployment as one service sees it; "" is the administrator."""
    url = minio_server.store_url(f"fresh-{secrets.token_hex(6)}")
    keys = {f"{user}_store_secret_key": secret for user, secret in SECRETS.items()}
    settings = StoreSetupSettings(
        store_url=url,
        store_access_key=minio_server.access_key,
        store_secret_key=minio_server.secret_key,
        weights_dir=default_weights_dir(),
        **keys,  # type: ignore[arg-type]
    )
    set_up(settings)
    set_up(settings)  # safe to run again

    def open_as(user: str) -> ObjectStore:
        if not user:
            return open_store(url, minio_server.access_key, minio_server.secret_key)
        return open_store(url, user, SECRETS[user])

    return open_as


@pytest.mark.parametrize("user", USERS)
def test_every_service_finds_the_store_ready(user: str, store_of: StoreOf) -> None:
    store_of(user).ping()


@pytest.mark.parametrize("user", KINDS)
def test_a_stage_writes_its_own_kinds_and_reads_the_others(user: str, store_of: StoreOf) -> None:
    store = store_of(user)
    for kind in (kind for kinds in KINDS.values() for kind in kinds):
        store_of("").put(f"artifacts/{kind}/there", b"made before")
        assert store.get(f"artifacts/{kind}/there") == b"made before"
        if kind in KINDS[user]:
            assert store.put_new(f"artifacts/{kind}/{user}", b"mine")
            assert not store.put_new(f"artifacts/{kind}/{user}", b"mine")
        else:
            with pytest.raises(Forbidden):
                store.put(f"artifacts/{kind}/{user}", b"not mine")
        with pytest.raises(Forbidden):
            store.delete(f"artifacts/{kind}/there")


def test_networks_are_read_by_those_that_run_them(store_of: StoreOf) -> None:
    key = next(iter(WEIGHTS.values())).object_key
    for user in USERS:
        if user in {"pose", "segmentation"}:
            assert store_of(user).get(key)
        else:
            with pytest.raises(Forbidden):
                store_of(user).get(key)
        with pytest.raises(Forbidden):
            store_of(user).put(key, b"forged")


def test_the_trainer_alone_has_scratch_and_may_clear_it(store_of: StoreOf) -> None:
    store_of("trainer").put("scratch/run/checkpoint", b"half way")
    assert store_of("trainer").get("scratch/run/checkpoint") == b"half way"
    for user in set(USERS) - {"trainer"}:
        with pytest.raises(Forbidden):
            store_of(user).get("scratch/run/checkpoint")
    store_of("trainer").delete("scratch/run/checkpoint")


def test_the_gateway_takes_uploads_and_deletes_what_users_delete(store_of: StoreOf) -> None:
    gateway = store_of("gateway")
    gateway.put("uploads/video", b"frames")
    assert store_of("downloader").get("uploads/video") == b"frames"
    with pytest.raises(Forbidden):
        store_of("pose").get("uploads/video")
    store_of("pose").put("artifacts/pose_track/old", b"{}")
    for key in ("uploads/video", "artifacts/pose_track/old"):
        gateway.delete(key)
        assert gateway.stat(key) is None


def test_a_prefix_narrows_every_policy() -> None:
    for user in USERS:
        objects = [
            resource for each in policy(user, "bucket", "team/a")["Statement"][1:] for resource in each["Resource"]
        ]
        assert objects
        assert all(resource.startswith("arn:aws:s3:::bucket/team/a/") for resource in objects)
