"""TLS between gateway and services, and at the gateway's doors, with certificates made here."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from understudy.v1 import gateway_pb2 as pb
from understudy.v1 import gateway_pb2_grpc

from gateway.clients import StageClients
from gateway.config import GatewaySettings
from gateway.server import serving as gateway_serving
from services.common.errors import InvalidOption
from services.common.server import open_runner, start
from services.common.settings import ServiceSettings
from services.common.tls import channel_credentials, server_credentials
from tests.support.certificates import Authority
from tests.support.sample_service import sample_service


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


def service_settings(folder: Path, **values: Any) -> ServiceSettings:
    return ServiceSettings(store_url=(folder / "store").as_uri(), cache_dir=folder, metrics_port=-1, **values)


def gateway_settings(folder: Path, **values: Any) -> GatewaySettings:
    return GatewaySettings(
        store_url=(folder / "store").as_uri(),
        database_url=f"sqlite:///{folder / 'gateway.db'}",
        spool_dir=folder,
        run_transfers=False,
        **values,
    )


async def pose_answers(folder: Path, port: int, **tls: Any) -> bool:
    """Whether a gateway with these settings finds the service SERVING."""
    clients = StageClients(gateway_settings(folder, pose_address=f"127.0.0.1:{port}", **tls))
    try:
        for _ in range(5):
            if (await clients.health())["pose"]:
                return True
            await asyncio.sleep(0.3)
        return False
    finally:
        await clients.close()


async def test_a_service_with_a_certificate_speaks_tls_alone(authority: Authority, tmp_path: Path) -> None:
    own, other = authority.sign("pose"), Authority(tmp_path, "theirs")
    settings = service_settings(tmp_path, tls_certificate_file=own.certificate, tls_key_file=own.key, probe_port=0)
    running = await start(sample_service(open_runner(settings), tmp_path / "log"), settings)
    try:
        assert await pose_answers(tmp_path, running.port, tls_ca_file=authority.certificate)
        assert not await pose_answers(tmp_path, running.port)
        assert not await pose_answers(tmp_path, running.port, tls_ca_file=other.certificate)
    finally:
        await running.stop(5)


async def test_a_service_may_ask_its_callers_for_a_certificate(authority: Authority, tmp_path: Path) -> None:
    own, client = authority.sign("pose"), authority.sign("gateway")
    stranger = Authority(tmp_path, "theirs").sign("gateway")
    settings = service_settings(
        tmp_path, tls_certificate_file=own.certificate, tls_key_file=own.key, tls_ca_file=authority.certificate,
        tls_verify_clients=True,
    )  # fmt: skip
    running = await start(sample_service(open_runner(settings), tmp_path / "log"), settings)
    try:
        known = {"tls_certificate_file": client.certificate, "tls_key_file": client.key}
        strange = {"tls_certificate_file": stranger.certificate, "tls_key_file": stranger.key}
        assert await pose_answers(tmp_path, running.port, tls_ca_file=authority.certificate, **known)
        assert not await pose_answers(tmp_path, running.port, tls_ca_file=authority.certificate)
        assert not await pose_answers(tmp_path, running.port, tls_ca_file=authority.certificate, **strange)
    finally:
        await running.stop(5)


async def test_a_certificate_for_another_host_is_refused(authority: Authority, tmp_path: Path) -> None:
    own = authority.sign("pose", "DNS:pose.elsewhere.example")
    settings = service_settings(tmp_path, tls_certificate_file=own.certificate, tls_key_file=own.key)
    running = await start(sample_service(open_runner(settings), tmp_path / "log"), settings)
    try:
        assert not await pose_answers(tmp_path, running.port, tls_ca_file=authority.certificate)
    finally:
        await running.stop(5)


async def test_probes_answer_in_the_clear_where_they_are_asked_for(authority: Authority, tmp_path: Path) -> None:
    own = authority.sign("pose")
    settings = service_settings(
        tmp_path, tls_certificate_file=own.certificate, tls_key_file=own.key, probe_port=_free_port()
    )
    running = await start(sample_service(open_runner(settings), tmp_path / "log"), settings)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.probe_port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status in {1, 2}
            missing: Any = channel.unary_unary("/understudy.v1.PoseService/EstimatePoses")
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await missing(b"")
    finally:
        await running.stop(5)


async def test_the_gateways_doors_speak_tls(authority: Authority, tmp_path: Path) -> None:
    own = authority.sign("gateway")
    settings = gateway_settings(tmp_path, door_certificate_file=own.certificate, door_key_file=own.key)
    trust = ssl.create_default_context(cafile=str(authority.certificate))
    async with gateway_serving(settings) as running:
        url = f"https://127.0.0.1:{running.http_port}"
        async with httpx.AsyncClient(base_url=url, verify=trust, trust_env=False) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/healthz", headers={"origin": "https://evil.example"})).status_code == 403
        async with httpx.AsyncClient(base_url=url, trust_env=False) as stranger:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.get("/healthz")
        credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{running.grpc_port}", credentials) as channel:
            assert (await gateway_pb2_grpc.GatewayServiceStub(channel).ListClips(pb.ListClipsRequest())).clips == []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as clear:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await gateway_pb2_grpc.GatewayServiceStub(clear).ListClips(pb.ListClipsRequest())


def test_half_a_setting_is_said_plainly(authority: Authority, tmp_path: Path) -> None:
    own = authority.sign("pose")
    assert server_credentials(service_settings(tmp_path)) is None
    assert channel_credentials(service_settings(tmp_path)) is None
    with pytest.raises(InvalidOption, match="KEY_FILE"):
        server_credentials(service_settings(tmp_path, tls_certificate_file=own.certificate))
    with pytest.raises(InvalidOption, match="CA_FILE"):
        server_credentials(
            service_settings(
                tmp_path, tls_certificate_file=own.certificate, tls_key_file=own.key, tls_verify_clients=True
            )
        )
    with pytest.raises(InvalidOption, match=r"cannot read .*none\.pem"):
        channel_credentials(service_settings(tmp_path, tls_ca_file=tmp_path / "none.pem"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
