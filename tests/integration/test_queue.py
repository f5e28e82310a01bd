"""A thousand queued transfers wait in the database, not in the gateway's memory."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil

from gateway.resources import ClipUse, TransferRequest
from tests.support.gateways import gateway_process

QUEUED = 1000
MOST_GROWTH_BYTES = 40 << 20


def gateway_memory(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def test_a_thousand_queued_transfers_cost_next_to_no_memory(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'gateway.db'}"
    settings = {
        "UNDERSTUDY_STORE_URL": (tmp_path / "store").as_uri(),
        "UNDERSTUDY_DATABASE_URL": database,
        "UNDERSTUDY_WORKFLOW_DATABASE_URL": f"sqlite:///{tmp_path / 'workflows.db'}",
        "UNDERSTUDY_CONCURRENT_TRANSFERS": "1",
        "UNDERSTUDY_LOG_LEVEL": "error",
    }
    with gateway_process(tmp_path, settings) as client:
        pid = next(
            child.pid
            for child in psutil.Process().children(recursive=True)
            if child.cmdline()[1:3] == ["-m", "gateway"]
        )
        video = tmp_path / "clip.mp4"
        video.write_bytes(b"bytes")
        clip = client.upload(video)
        request = TransferRequest(source=ClipUse(clip_id=clip.id), target=ClipUse(clip_id=clip.id))
        body = request.model_dump(mode="json")
        with httpx.Client(base_url=client.url, trust_env=False, timeout=30) as http:
            for _ in range(50):  # caches, pools and threads are there once some have come
                assert http.post("/v1/transfers", json=body).status_code == 201
            before = gateway_memory(pid)
            for _ in range(QUEUED):
                assert http.post("/v1/transfers", json=body).status_code == 201
        grown = gateway_memory(pid) - before
        assert grown < MOST_GROWTH_BYTES, f"{grown / QUEUED:,.0f} bytes a transfer"
        assert sum(1 for _ in client.pages("transfers")) == QUEUED + 50
