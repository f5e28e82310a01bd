"""API keys at both doors of a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import gateway_pb2 as pb
from understudy.v1 import gateway_pb2_grpc

from gateway.config import GatewaySettings
from gateway.server import Running, serving
from services.common import rpc
from services.common.errors import Forbidden, QuotaExceeded, Unauthenticated, UnderstudyError
from tests.repo.tree import ROOT

ADMIN = "an-admin-key-of-more-than-32-characters"


def settings_of(folder: Path, **changes: Any) -> GatewaySettings:
    values: dict[str, Any] = {
        "store_url": (folder / "store").as_uri(),
        "database_url": f"sqlite:///{folder / 'gateway.db'}",
        "spool_dir": folder,
        "run_transfers": False,
        "api_keys": "on",
        "admin_key": ADMIN,
    }
    return GatewaySettings(**(values | changes))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(settings_of(tmp_path)) as running:
        yield running


@pytest.fixture
async def http(gateway: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}", trust_env=False) as client:
        yield client


@pytest.fixture
async def channel(gateway: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as opened:
        yield opened


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def key_of(gateway: Running, scope: str, **limits: int) -> str:
    return gateway.understudy.keys.create(scope, [scope], **limits)[1]


async def test_without_a_key_only_probes_and_descriptions_answer(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert (await http.get(path)).status_code == 200, path
    for path in ("/v1/clips", "/v1/transfers/x", "/v1/keys", "/nothing", "/healthz/..%2fv1/clips", "/healthz/"):
        answer = await http.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["reason"] == "UNAUTHENTICATED"
    for bad in ("us_x_y", "x"):
        assert (await http.get("/v1/clips", headers=bearer(bad))).status_code == 401
    assert (await http.get("/v1/clips", headers={"authorization": "Basic dTpw"})).status_code == 401


async def test_scopes_hold_over_http(http: httpx.AsyncClient, gateway: Running) -> None:
    read, write = bearer(key_of(gateway, "read")), bearer(key_of(gateway, "write"))
    made = await http.post("/v1/clips", content=b"bytes", headers=write)
    assert made.status_code == 201
    clip = made.json()["id"]
    assert (await http.get(f"/v1/clips/{clip}", headers=read)).status_code == 200
    for answer in (
        await http.post("/v1/clips", content=b"bytes", headers=read),
        await http.delete(f"/v1/clips/{clip}", headers=read),
        await http.get(f"/v1/clips/{clip}/people", headers=read),
        await http.get("/v1/keys", headers=write),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (403, "FORBIDDEN")
    assert (await http.delete(f"/v1/clips/{clip}", headers=write)).status_code == 204


async def test_an_admin_makes_rotates_and_ends_keys(http: httpx.AsyncClient, tmp_path: Path) -> None:
    admin = bearer(ADMIN)
    made = (await http.post("/v1/keys", json={"name": "alice", "scopes": ["read"]}, headers=admin)).json()
    assert (await http.get("/v1/clips", headers=bearer(made["key"]))).status_code == 200
    rotate = await http.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_seconds": 60}, headers=admin)
    assert (await http.get("/v1/clips", headers=bearer(rotate.json()["key"]))).status_code == 200
    listed = (await http.get("/v1/keys", headers=admin)).json()["keys"]
    assert [each["name"] for each in listed] == ["alice"]
    assert "sha256" not in str(listed)
    assert (await http.delete(f"/v1/keys/{made['id']}", headers=admin)).status_code == 204
    assert (await http.post("/v1/keys", json={"name": "x", "scopes": ["root"]}, headers=admin)).status_code == 400


async def test_a_limit_is_a_429(http: httpx.AsyncClient, gateway: Running, tmp_path: Path) -> None:
    limited = bearer(key_of(gateway, "write", upload_bytes_a_day=8))
    assert (await http.post("/v1/clips", content=b"12345", headers=limited)).status_code == 201
    answer = await http.post("/v1/clips", content=b"6789a", headers=limited)
    assert (answer.status_code, answer.json()["reason"]) == (429, "QUOTA_EXCEEDED")
    assert answer.json()["metadata"] == {"limit_bytes": "8", "used_bytes": "5"}
    assert len(list((tmp_path / "store" / "uploads").iterdir())) == 1


async def raised(call: Any) -> UnderstudyError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return rpc.from_rpc_error(caught.value)


async def test_scopes_and_limits_hold_over_grpc(channel: grpc.aio.Channel, gateway: Running) -> None:
    stub = gateway_pb2_grpc.GatewayServiceStub(channel)
    nobody = await raised(stub.ListClips(pb.ListClipsRequest()))
    assert isinstance(nobody, Unauthenticated)
    assert "understudy keys create" in nobody.message
    read = tuple(bearer(key_of(gateway, "read")).items())
    limited = tuple(bearer(key_of(gateway, "write", upload_bytes_a_day=3)).items())
    assert (await stub.ListClips(pb.ListClipsRequest(), metadata=read)).clips == []
    refused = await raised(stub.DeleteClip(pb.DeleteClipRequest(id="x"), metadata=read))
    assert isinstance(refused, Forbidden)
    assert refused.metadata == {"scope": "write"}

    async def parts() -> AsyncIterator[pb.CreateClipRequest]:
        yield pb.CreateClipRequest(spec=pb.ClipSpec(display_name="a.mp4"))
        yield pb.CreateClipRequest(chunk=b"1234")

    assert isinstance(await raised(stub.CreateClip(parts(), metadata=limited)), QuotaExceeded)
    watch: Any = stub.WatchTransfer(pb.WatchTransferRequest(id="x"))
    assert isinstance(await raised(watch.read()), Unauthenticated)
    health: Any = health_pb2_grpc.HealthStub(channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


async def test_every_method_of_the_gateway_asks_for_a_key(channel: grpc.aio.Channel) -> None:
    for method in pb.DESCRIPTOR.services_by_name["GatewayService"].methods:
        multicallable: Any = channel.stream_stream(f"/{method.containing_service.full_name}/{method.name}")
        call: Any = multicallable(iter([b""]))
        assert isinstance(await raised(call.read()), Unauthenticated), method.name


def test_keys_are_asked_for_unless_only_this_machine_can_call(tmp_path: Path) -> None:
    for host, asks in (
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("10.0.0.1", True),
    ):
        assert settings_of(tmp_path, listen_host=host, api_keys="auto").asks_for_keys is asks, host
    assert not settings_of(tmp_path, listen_host="0.0.0.0", api_keys="off").asks_for_keys
    with pytest.raises(ValueError, match="at least 32"):
        settings_of(tmp_path, admin_key="short")
    assert ADMIN not in repr(settings_of(tmp_path))
    assert (ROOT / "gateway" / "auth.py").read_text().count("compare_digest") == 1
