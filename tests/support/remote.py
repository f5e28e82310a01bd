"""Transfers through a gateway that runs elsewhere, as its users make them: by HTTP/JSON or by gRPC."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import grpc
from understudy.v1 import gateway_pb2 as pb
from understudy.v1 import gateway_pb2_grpc

from gateway.cli.client import GatewayClient
from gateway.resources import ClipUse, State, Transfer, TransferOptions, TransferRequest
from services.common.synthetic import SyntheticPair, write_synthetic_pair

SOURCE_FRAMES, TARGET_FRAMES = 260, 200  # five shards and four: something to share among workers
SOURCE_SIZE, TARGET_SIZE = (240, 320), (320, 320)
_CHUNK_BYTES = 1 << 20
_SECONDS = 900.0
_RECONNECT_SECONDS = 120.0
READ_METRICS = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
"""Program for a worker's own Python that says its metrics."""
_CALLS = re.compile(r"^understudy_calls_total\{([^}]*)\} (\S+)$", re.MULTILINE)
T = TypeVar("T")


@dataclass(frozen=True)
class Door:
    """Where a gateway is, and the API key to come in with."""

    url: str
    grpc_address: str
    key: str


class _Keyed:
    """A stub whose every call shows the key."""

    def __init__(self, stub: Any, key: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {key}"),)

    def __getattr__(self, name: str) -> Any:
        return functools.partial(getattr(self._stub, name), metadata=self._metadata)


@dataclass(frozen=True)
class Progress:
    """Where a transfer stands: state, and units done by (stage, role)."""

    state: str
    done: dict[tuple[str, str], int]
    failure: str

    def of(self, stage: str) -> int:
        """Units done of a stage, both roles together."""
        return sum(done for (each, _), done in self.done.items() if each == stage)


Watcher = Callable[[Progress], None]


def dancers(folder: Path) -> SyntheticPair:
    """Two drawn dancers, for a transfer of several shards."""
    return write_synthetic_pair(
        folder,
        source_frames=SOURCE_FRAMES,
        target_frames=TARGET_FRAMES,
        source_size=SOURCE_SIZE,
        target_size=TARGET_SIZE,
    )


def admin_key(secrets: Path) -> str:
    """The gateway's admin key, of a file by deploy/make_secrets.py."""
    values = dict(line.split("=", 1) for line in secrets.read_text().splitlines() if "=" in line)
    return values["UNDERSTUDY_ADMIN_KEY"]


def by_http(
    door: Door, pair: SyntheticPair, output: Path, options: TransferOptions, watch: Watcher, fewer: int = 0
) -> None:
    """A whole transfer; `watch` hears of each change. Raises AssertionError when it does not succeed.

    fewer: frames left out at the end of both clips. Another number is another clip: nothing is found done already.
    """
    client = GatewayClient(door.url, key=door.key)
    try:
        source, target = client.upload(pair.source), client.upload(pair.target)
        uses = {
            "source": ClipUse(clip_id=source.id, max_frames=SOURCE_FRAMES - fewer),
            "target": ClipUse(clip_id=target.id, max_frames=TARGET_FRAMES - fewer),
        }
        last = client.create_transfer(TransferRequest(**uses, options=options))
        for now in client.watch(last.id):
            watch(_from_resource(now))
            last = now
        assert last.state is State.SUCCEEDED, last.failure
        client.download(last.id, "mp4", output)
    finally:
        client.close()


def by_grpc(
    door: Door, pair: SyntheticPair, output: Path, options: TransferOptions, watch: Watcher, fewer: int = 0
) -> None:
    """The same by gRPC. A gateway that goes away is waited for, as a careful client does."""
    backoff = [("grpc.max_reconnect_backoff_ms", 2000)]
    with grpc.insecure_channel(door.grpc_address, options=backoff) as channel:
        stub: Any = _Keyed(gateway_pb2_grpc.GatewayServiceStub(channel), door.key)
        clips = [_patiently(functools.partial(_create_clip, stub, path)) for path in (pair.source, pair.target)]
        chosen = pb.TransferOptions(preset=options.preset, iterations=options.iterations, seed=options.seed)
        frames = (SOURCE_FRAMES - fewer, TARGET_FRAMES - fewer)
        source, target = (
            pb.ClipUse(clip_id=clip.id, max_frames=most) for clip, most in zip(clips, frames, strict=True)
        )
        request = pb.CreateTransferRequest(
            source=source, target=target, options=chosen, request_id=f"test-{output.name}"
        )
        transfer = _patiently(lambda: stub.CreateTransfer(request).transfer)
        last = _watch(stub, transfer.id, watch)
        assert last.state == pb.Transfer.SUCCEEDED, last.failure
        chunks = stub.ReadResult(pb.ReadResultRequest(id=last.id))
        output.write_bytes(b"".join(each.chunk for each in chunks))


def check_result(output: Path) -> None:
    """It is a video of the target's size, the source's rate and as good as all its frames, with sound, and marked."""
    with av.open(str(output)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == TARGET_SIZE
        assert video.average_rate == Fraction(25)
        assert container.streams.audio
        assert "synthetic" in " ".join(container.metadata.values()).lower()
        assert sum(1 for _ in container.decode(video)) >= SOURCE_FRAMES - 12


def calls_done(metrics: str) -> float:
    """Stage calls that a worker has answered well, of what READ_METRICS says."""
    done = (
        float(value) for labels, value in _CALLS.findall(metrics) if 'code="OK"' in labels and "ealth" not in labels
    )
    return sum(done)


def _watch(stub: Any, transfer_id: str, watch: Watcher) -> Any:
    """Watches until it has ended, through whatever befalls the gateway; the last word."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            for answer in stub.WatchTransfer(pb.WatchTransferRequest(id=transfer_id), timeout=_SECONDS):
                watch(_from_message(answer.transfer))
                last = answer.transfer
        except grpc.RpcError as error:
            if not _passing(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return last


def _patiently(call: Callable[[], T]) -> T:
    deadline = time.monotonic() + _RECONNECT_SECONDS
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if not _passing(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _passing(error: Any) -> bool:
    return error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def _create_clip(stub: Any, path: Path) -> Any:
    return stub.CreateClip(_upload(path)).clip


def _upload(path: Path) -> Iterator[pb.CreateClipRequest]:
    yield pb.CreateClipRequest(spec=pb.ClipSpec(display_name=path.name))
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield pb.CreateClipRequest(chunk=chunk)


def _from_resource(transfer: Transfer) -> Progress:
    done = {(each.stage, each.role): each.done for each in transfer.stages}
    return Progress(transfer.state.value, done, transfer.failure.message if transfer.failure else "")


def _from_message(transfer: Any) -> Progress:
    done = {(each.stage, each.role): each.done for each in transfer.stages}
    return Progress(pb.Transfer.State.Name(transfer.state), done, transfer.failure.message)


class Once:
    """A watcher that does something the first time that a condition holds, and the next thing after that."""

    def __init__(self, *steps: tuple[Callable[[Progress], bool], Callable[[], object]]) -> None:
        self._steps = list(steps)

    def __call__(self, progress: Progress) -> None:
        if self._steps and self._steps[0][0](progress):
            _, act = self._steps.pop(0)
            act()

    @property
    def left(self) -> int:
        """Things not done yet."""
        return len(self._steps)


def at(stage: str, units: int = 1) -> Callable[[Progress], bool]:
    """Whether a stage has done so many units."""
    return lambda progress: progress.of(stage) >= units
