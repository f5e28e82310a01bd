"""A hundred small transfers asked for at once: all end, and those that wait cost the gateway no memory to speak of."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway.cli.client import GatewayClient
from gateway.resources import ClipUse, State, TransferOptions, TransferRequest
from services.common.synthetic import write_synthetic_pair
from tests.support.compose import Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(5400)]

TRANSFERS = 100
FRAMES, SIZE = 40, (128, 160)
DIFFERENT_DANCES = 10
"""Lengths of the source; transfers of the same dance have different seeds, so that no two are the same wish."""
MOST_GROWTH_MIB = 48.0
"""What a hundred may add to a gateway that has done one: their rows, their progress, their open watches."""
EVERY_SECONDS = 2.0


def test_a_hundred_transfers_at_once_all_end(stack: Stack, tmp_path: Path) -> None:
    pair = write_synthetic_pair(
        tmp_path, source_frames=FRAMES, target_frames=FRAMES, source_size=SIZE, target_size=SIZE
    )
    client = GatewayClient(stack.door.url, key=stack.door.key)
    try:
        source, target = client.upload(pair.source), client.upload(pair.target)

        def ask(number: int) -> str:
            dance, seed = number % DIFFERENT_DANCES, number // DIFFERENT_DANCES
            request = TransferRequest(
                source=ClipUse(clip_id=source.id, max_frames=FRAMES - dance),
                target=ClipUse(clip_id=target.id),
                options=TransferOptions(preset="draft", seed=seed),
            )
            return client.create_transfer(request).id

        warm = ask(TRANSFERS)
        while not client.transfer(warm).state.ended:
            time.sleep(EVERY_SECONDS)
        memory, began = [stack.memory_mib("gateway")], time.monotonic()
        asked = {ask(number) for number in range(TRANSFERS)}
        took_in = time.monotonic() - began
        memory.append(stack.memory_mib("gateway"))
        while True:
            states = Counter(each["state"] for each in client.pages("transfers") if each["id"] in asked)
            if all(State(state).ended for state in states):
                break
            time.sleep(EVERY_SECONDS)
            memory.append(stack.memory_mib("gateway"))
        sys.stdout.write(
            f"{TRANSFERS} transfers taken in within {took_in:.1f} s, ended after {time.monotonic() - began:.0f} s; "
            f"the gateway's memory: {memory[0]:.0f} MiB before, {memory[1]:.0f} with all queued, "
            f"{max(memory):.0f} at most, {memory[-1]:.0f} after\n"
        )
    finally:
        client.close()
    assert states == {State.SUCCEEDED.value: TRANSFERS}
    assert max(memory) - memory[0] < MOST_GROWTH_MIB
