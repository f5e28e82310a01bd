"""Two gateways over one PostgreSQL: they share their work, and outlive the database's absence."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.cli.client import GatewayClient
from gateway.cli.home import Home
from gateway.cli.stack import Stack
from gateway.resources import ClipUse, State, Transfer, TransferOptions, TransferRequest
from services.common.synthetic import SyntheticPair
from tests.support.gateways import gateway_process
from tests.support.postgres import PostgresServer, required_server

AWAY_SECONDS = 20.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with required_server() as running:
        yield running


@pytest.fixture
def two(server: PostgresServer, tmp_path: Path) -> Iterator[tuple[GatewayClient, GatewayClient]]:
    """Clients of two gateways with the same services, store and database."""
    home = Home.open(tmp_path / "home")
    url = server.new_database()
    shared = {"UNDERSTUDY_DATABASE_URL": url, "UNDERSTUDY_WORKFLOW_DATABASE_URL": url}
    with Stack(home, lambda _line: None, settings=shared) as stack:
        second = {
            **shared,
            "UNDERSTUDY_STORE_URL": home.store.as_uri(),
            "UNDERSTUDY_EXECUTOR_ID": "gateway-1",
            **{f"UNDERSTUDY_{name.upper()}_ADDRESS": address for name, address in stack.addresses.items()},
        }
        first = GatewayClient(stack.url, stack.check)
        first.get("/healthz")
        with gateway_process(tmp_path, second) as client:
            yield first, client
        first.close()


def request_of(client: GatewayClient, pair: SyntheticPair, seed: int = 0, request_id: str = "") -> TransferRequest:
    return TransferRequest(
        source=ClipUse(clip_id=client.upload(pair.source).id),
        target=ClipUse(clip_id=client.upload(pair.target).id),
        options=TransferOptions(preset="preview", iterations=12, seed=seed),
        request_id=request_id,
    )


def wait_for(client: GatewayClient, transfer_id: str, stage: str) -> Transfer:
    for transfer in client.watch(transfer_id):
        if transfer.stage == stage:
            return transfer
    raise AssertionError(f"it ended before {stage} began")


def test_a_transfer_outlives_the_databases_absence_and_every_gateway_sees_its_end(
    server: PostgresServer, two: tuple[GatewayClient, GatewayClient], pair: SyntheticPair
) -> None:
    first, second = two
    begun = second.create_transfer(request_of(first, pair, request_id="r"))
    assert first.create_transfer(request_of(second, pair, request_id="r")).id == begun.id
    wait_for(first, begun.id, "pose")
    server.stop()
    back = threading.Timer(AWAY_SECONDS, server.start)
    back.start()
    began = time.monotonic()
    answer = httpx.get(f"{first.url}/v1/transfers/{begun.id}", trust_env=False, timeout=20)
    assert (answer.status_code, answer.json()["reason"]) == (503, "STORE_UNAVAILABLE")
    assert answer.json()["retryable"]
    assert time.monotonic() - began < 10
    assert httpx.get(f"{first.url}/readyz", trust_env=False, timeout=20).json()["database"] is False
    assert httpx.get(f"{first.url}/healthz", trust_env=False, timeout=20).status_code == 200
    back.join()
    ended = list(first.watch(begun.id))[-1]
    assert ended.state is State.SUCCEEDED, ended.failure
    assert second.transfer(begun.id).outputs == ended.outputs
    assert len(list(second.pages("performers"))) == 1


def test_a_transfer_is_cancelled_through_another_gateway_and_stays_so(
    two: tuple[GatewayClient, GatewayClient], pair: SyntheticPair
) -> None:
    first, second = two
    requests = [request_of(first, pair, seed) for seed in range(5)]
    transfers = [first.create_transfer(request).id for request in requests]  # more than both gateways run at once
    wait_for(second, transfers[0], "pose")
    for client in (first, second):
        for transfer_id in transfers:
            assert client.cancel(transfer_id).state is State.CANCELLED
    time.sleep(3)
    assert {second.transfer(transfer_id).state for transfer_id in transfers} == {State.CANCELLED}
