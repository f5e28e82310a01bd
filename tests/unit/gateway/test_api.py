"""The gateway's HTTP and gRPC doors, over a real gateway that only reads and deletes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest
from understudy.v1 import gateway_pb2 as pb
from understudy.v1 import gateway_pb2_grpc

from gateway.config import GatewaySettings
from gateway.server import Running, serving
from services.common import rpc
from services.common.errors import InvalidInput, ResourceNotFound, ServiceUnavailable


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    settings = GatewaySettings(
        store_url=(tmp_path / "store").as_uri(),
        database_url=f"sqlite:///{tmp_path / 'gateway.db'}",
        spool_dir=tmp_path,
        run_transfers=False,
        max_upload_bytes=1000,
    )
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def http(gateway: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}", trust_env=False) as client:
        yield client


@pytest.fixture
async def stub(gateway: Running) -> AsyncIterator[gateway_pb2_grpc.GatewayServiceAsyncStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        yield gateway_pb2_grpc.GatewayServiceStub(channel)


async def test_takes_bytes_in_and_names_them_by_their_digest(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/clips", params={"display_name": "a.mp4"}, content=b"some bytes")
    assert answer.status_code == 201
    clip = answer.json()
    assert clip["upload_sha256"] == hashlib.sha256(b"some bytes").hexdigest()
    assert clip["size_bytes"] == 10
    again = await http.post("/v1/clips", params={"display_name": "a.mp4"}, content=b"some bytes")
    assert again.json()["id"] == clip["id"]
    listed = (await http.get("/v1/clips")).json()
    assert [each["id"] for each in listed["clips"]] == [clip["id"]]
    assert (await http.delete(f"/v1/clips/{clip['id']}")).status_code == 204
    gone = await http.get(f"/v1/clips/{clip['id']}")
    assert gone.status_code == 404
    assert gone.json()["reason"] == "RESOURCE_NOT_FOUND"


async def test_refuses_what_is_empty_or_too_large_and_keeps_nothing(http: httpx.AsyncClient, tmp_path: Path) -> None:
    empty = await http.post("/v1/clips", content=b"")
    assert (empty.status_code, empty.json()["reason"]) == (400, "UNREADABLE_VIDEO")
    large = await http.post("/v1/clips", content=b"x" * 1001)
    assert (large.status_code, large.json()["reason"]) == (413, "FILE_TOO_LARGE")
    assert not list(tmp_path.glob("understudy-upload-*"))
    assert not (tmp_path / "store" / "uploads").exists()


async def test_problem_documents_follow_rfc_9457(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/transfers/none")
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance"} <= answer.json().keys()
    invalid = await http.post("/v1/transfers", json={"source": {}})
    assert invalid.status_code == 400
    assert "source.clip_id" in invalid.json()["detail"]


async def test_refuses_foreign_hosts_and_origins(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/healthz", headers={"host": "evil.example"})).status_code == 403
    assert (await http.get("/healthz", headers={"origin": "https://evil.example"})).status_code == 403
    assert (await http.get("/healthz", headers={"origin": "null"})).status_code == 403
    assert (await http.get("/healthz", headers={"origin": "http://localhost:8080"})).status_code == 200


async def test_probes_and_metrics_answer(http: httpx.AsyncClient) -> None:
    assert (await http.get("/readyz")).json() == {"store": True, "database": True}
    for path in ("/v1/clips/none", "/v1/clips/other", "/made/up", "/healthz"):
        await http.get(path)
    lines = (await http.get("/metrics")).text.splitlines()
    assert 'understudy_calls_total{code="404",method="GET /v1/clips/{clip_id}",service="http"} 2.0' in lines
    assert 'understudy_calls_total{code="404",method="unknown",service="http"} 1.0' in lines
    assert 'understudy_dependency_up{service="database"} 1.0' in lines
    assert "made/up" not in "".join(lines)
    document = (await http.get("/openapi.json")).json()
    assert "/v1/transfers/{transfer_id}/events" in document["paths"]


async def test_a_url_must_be_http(http: httpx.AsyncClient) -> None:
    bad = await http.post("/v1/clips", json={"url": "file:///etc/passwd"})
    assert (bad.status_code, bad.json()["reason"]) == (400, "INVALID_OPTION")
    good = await http.post("/v1/clips", json={"url": "https://example.org/a.mp4"})
    assert good.json()["url"] == "https://example.org/a.mp4"


async def test_a_reading_gateway_says_that_it_runs_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/transfers", json={"source": {"clip_id": "a"}, "performer": "b"})
    assert answer.status_code == 503
    assert "understudy up" in answer.json()["detail"]


async def test_grpc_takes_chunks_and_gives_the_same_resources(
    stub: gateway_pb2_grpc.GatewayServiceAsyncStub, http: httpx.AsyncClient
) -> None:
    async def parts() -> AsyncIterator[pb.CreateClipRequest]:
        yield pb.CreateClipRequest(spec=pb.ClipSpec(display_name="b.mp4"))
        yield pb.CreateClipRequest(chunk=b"some ")
        yield pb.CreateClipRequest(chunk=b"bytes")

    clip = (await stub.CreateClip(parts())).clip
    assert clip.upload_sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert (await http.get(f"/v1/clips/{clip.id}")).json()["display_name"] == "b.mp4"
    page = await stub.ListClips(pb.ListClipsRequest(page_size=1))
    assert [each.id for each in page.clips] == [clip.id]
    await stub.DeleteClip(pb.DeleteClipRequest(id=clip.id))


async def test_grpc_errors_carry_reason_and_message(stub: gateway_pb2_grpc.GatewayServiceAsyncStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await stub.GetTransfer(pb.GetTransferRequest(id="none"))
    assert isinstance(rpc.from_rpc_error(missing.value), ResourceNotFound)

    async def no_spec() -> AsyncIterator[pb.CreateClipRequest]:
        yield pb.CreateClipRequest(chunk=b"bytes")

    with pytest.raises(grpc.aio.AioRpcError) as early:
        await stub.CreateClip(no_spec())
    assert isinstance(rpc.from_rpc_error(early.value), InvalidInput)
    with pytest.raises(grpc.aio.AioRpcError) as reading:
        request = pb.CreateTransferRequest(source=pb.ClipUse(clip_id="a"), performer="b")
        await stub.CreateTransfer(request)
    assert isinstance(rpc.from_rpc_error(reading.value), ServiceUnavailable)


async def test_unknown_clips_and_performers_are_problems_by_both_doors(
    http: httpx.AsyncClient, stub: gateway_pb2_grpc.GatewayServiceAsyncStub
) -> None:
    for path in (
        "/v1/clips/none/people", "/v1/clips/none/people/events", "/v1/clips/none/people/sheet",
        "/v1/performers/none/evaluation", "/v1/performers/none/evaluation/events",
        "/v1/performers/none/evaluation/files/index.html",
    ):  # fmt: skip
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["reason"]) == (404, "RESOURCE_NOT_FOUND"), path
    wrong = await http.get("/v1/clips/none/people", params={"max_frames": -1})
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "INVALID_INPUT")
    for call in (
        stub.FindPeople(pb.FindPeopleRequest(clip=pb.ClipUse(clip_id="none"))),
        stub.EvaluatePerformer(pb.EvaluatePerformerRequest(id="none")),
        stub.ReadEvaluation(pb.ReadEvaluationRequest(id="none", name="index.html")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            async for _ in call:
                pass
        assert isinstance(rpc.from_rpc_error(missing.value), ResourceNotFound)


async def test_wishes_that_nobody_can_meet_are_refused_with_what_can_be(http: httpx.AsyncClient) -> None:
    body = {"source": {"clip_id": "a", "subject": "somebody"}, "performer": "b"}
    answer = await http.post("/v1/transfers", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_OPTION")
    assert "largest, left, right" in answer.json()["detail"]
