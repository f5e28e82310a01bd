"""How many workers a stage has, by its name's addresses; so many shards are sent there at once."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from gateway.config import GatewaySettings
from gateway.turns import Turns

FEWEST_SHARDS: Final = 4
SHARDS_A_WORKER: Final = 2  # one at work, and the next one there when it ends
_EVERY_SECONDS = 5.0
_SERVICE_OF: Final = {"pose": "pose", "segmentation": "segmentation", "rendering": "renderer"}


async def follow_workers(settings: GatewaySettings, turns: Turns) -> None:
    """Looks again and again until it is cancelled."""
    while True:
        for stage, service in _SERVICE_OF.items():
            workers = await count_workers(settings.address_of(service))
            if workers:
                turns.allow(stage, *shares(workers))
        await asyncio.sleep(_EVERY_SECONDS)


def shares(workers: int) -> tuple[int, int | None]:
    """For `Turns.allow`: shards in flight over all workers, and how many may wait at one. Of several workers, one
    that has its share refuses more, so that none waits behind another while a third has nothing to do."""
    return max(FEWEST_SHARDS, SHARDS_A_WORKER * workers), SHARDS_A_WORKER - 1 if workers > 1 else None


async def count_workers(address: str) -> int:
    """Addresses behind `host:port`, `dns:///host:port` or a list `ipv4:a:1,b:1`; 0 while the name is not known."""
    if address.startswith(("ipv4:", "ipv6:")):
        return address.count(",") + 1
    host = address.rpartition("/")[2].rpartition(":")[0].strip("[]")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return 0
    return len({each[4][0] for each in found})
