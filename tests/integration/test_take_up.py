"""A gateway that starts puts right what one that was killed left between its two writes."""

from __future__ import annotations

import time
from pathlib import Path

from gateway.database import Database
from gateway.resources import Clip, ClipUse, State, Transfer
from tests.support.gateways import gateway_process


def test_a_transfer_that_was_written_down_and_never_queued_begins(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    database = Database(url)
    database.save_clip(Clip(id="c", upload_sha256="a" * 64))
    database.add_transfer(Transfer(id="0" * 32, source=ClipUse(clip_id="c"), target=ClipUse(clip_id="c")))
    database.close()
    settings = {
        "UNDERSTUDY_STORE_URL": (tmp_path / "store").as_uri(),
        "UNDERSTUDY_DATABASE_URL": url,
        "UNDERSTUDY_WORKFLOW_DATABASE_URL": f"sqlite:///{tmp_path / 'workflows.db'}",
    }
    with gateway_process(tmp_path, settings) as client:
        deadline = time.monotonic() + 40
        while client.transfer("0" * 32).state is State.QUEUED:
            assert time.monotonic() < deadline, "it never began"
            time.sleep(0.1)
        assert client.cancel("0" * 32).state is State.CANCELLED
