"""For commands that take a few stage services and run no transfer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.status import Status

from gateway.cli.client import GatewayClient
from gateway.cli.home import Home
from gateway.cli.stack import Stack
from gateway.resources import StageProgress, StageState


@contextlib.contextmanager
def some_services(home: Home, services: tuple[str, ...], say: Callable[[str], None]) -> Iterator[GatewayClient]:
    """The gateway that is up, or one with these services, for the time of the block."""
    url = home.running_gateway()
    with contextlib.ExitStack() as stack:
        if url:
            client = GatewayClient(url)
        else:
            local = stack.enter_context(Stack(home, say, services=services, run_transfers=False))
            client = GatewayClient(local.url, local.check)
        stack.callback(client.close)
        yield client


def tell(status: Status, stages: list[StageProgress]) -> None:
    """Shows how far stages are."""
    at_work = [stage for stage in stages if stage.state is StageState.RUNNING]
    status.update(", ".join(f"{stage.stage} {stage.done}/{stage.total or '?'} {stage.unit}" for stage in at_work))
