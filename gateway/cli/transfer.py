"""`understudy transfer`: two videos in, one out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.client import GatewayClient
from gateway.cli.display import Display
from gateway.cli.home import Home
from gateway.cli.stack import Stack
from gateway.resources import ClipUse, State, Transfer, TransferOptions, TransferRequest, now
from services.common.errors import (
    Cancelled,
    Forbidden,
    Internal,
    InvalidInput,
    InvalidOption,
    NotFound,
    ResourceNotFound,
    StorageFull,
    UnderstudyError,
    UnreadableVideo,
    by_reason,
)

FORMATS = {"mp4": "mp4", "webm": "webm", "gif": "gif", "zip": "png"}
"""Ending of a result's name -> format."""
ENDINGS = ", ".join(f".{ending}" for ending in FORMATS)


@dataclass(frozen=True)
class Part:
    """A video and what part of it to use. `where`: a path or an http(s) address."""

    where: str
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    max_frames: int = 0
    subject: str = ""

    @property
    def is_url(self) -> bool:
        return self.where.startswith(("http://", "https://"))

    def use(self, clip_id: str) -> ClipUse:
        return ClipUse(
            clip_id=clip_id,
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
            max_frames=self.max_frames,
            subject=self.subject,
        )


@dataclass(frozen=True)
class Job:
    """One run of the command. Exactly one of `target` and `performer` is given. background: a picture or video."""

    source: Part
    target: Part | None
    performer: str
    output: Path
    options: TransferOptions = field(default_factory=TransferOptions)
    background: Part | None = None

    @property
    def side_by_side_path(self) -> Path:
        return self.output.with_name(f"{self.output.stem}-side-by-side.mp4")


def formats_of(output: Path) -> list[str]:
    """The format that the result's name asks for; none where `check_job` will refuse it."""
    ending = FORMATS.get(output.suffix.lower().lstrip("."))
    return [ending] if ending else []


def check_job(job: Job) -> None:
    """Finds what can be found before anything is started. Raises the error that says what to change."""
    if (job.target is None) == (not job.performer):
        raise InvalidOption("give a TARGET video, or --performer NAME of one that is trained")
    for part, role in ((job.source, ""), (job.target, "target-"), (job.background, "background-")):
        if part is None:
            continue
        if not part.is_url:
            check_input(Path(part.where))
        if part.end_seconds and part.end_seconds <= part.start_seconds:
            raise InvalidOption(
                f"--{role}end {part.end_seconds:g} is not after --{role}start {part.start_seconds:g}: give a later end"
            )
    check_output(job.output, tuple(FORMATS))


def run_transfer(job: Job, home_path: Path | None, display: Display) -> Transfer:
    """Runs a transfer to its end over a gateway that is up, or one started for it, and saves the result.

    Raises the error that ended the transfer, and Cancelled after Ctrl-C stopped it cleanly.
    """
    check_job(job)
    home = Home.open(home_path)
    try:
        return _run(job, home, _request_id(job), display)
    except KeyboardInterrupt:
        raise Cancelled("stopped; the same command goes on where it stopped") from None


def _run(job: Job, home: Home, request_id: str, display: Display) -> Transfer:
    with interruptible() as interrupted, _gateway(home, request_id, display) as client, bringing_clips(client) as clips:
        transfer_id = ""
        try:
            request = _request(job, clips, request_id)
            transfer = client.create_transfer(request)
            transfer_id = transfer.id
            for transfer in client.watch(transfer_id):
                display.show(transfer)
            _raise_failure(transfer)
            _save(job, client, transfer)
        except KeyboardInterrupt:
            interrupted.set()
            if transfer_id:
                display.line("stopping; what is finished is kept")
                client.cancel(transfer_id)
            raise
    return transfer


@contextlib.contextmanager
def _gateway(home: Home, request_id: str, display: Display) -> Iterator[GatewayClient]:
    url = home.running_gateway()
    with contextlib.ExitStack() as stack:
        if url:
            client = GatewayClient(url)
        else:
            display.line("starting the services")
            local = stack.enter_context(Stack(home, display.line, foreground_request_id=request_id))
            client = GatewayClient(local.url, local.check)
        stack.callback(client.close)
        yield client


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """SIGTERM and SIGHUP stop the run as Ctrl-C does; a second Ctrl-C while it stops, or says so, changes nothing."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def interrupt(_number: int, _frame: object) -> None:
        if not stopping.is_set():
            stopping.set()
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stopping.is_set() else handler)


class BroughtClips:
    """The clips that one command brings in."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client
        self._began = now()
        self._new: list[str] = []

    def bring(self, part: Part) -> str:
        """The clip's id."""
        clip = self._client.clip_of_url(part.where) if part.is_url else self._client.upload(Path(part.where))
        if clip.create_time >= self._began and clip.id not in self._new:
            self._new.append(clip.id)
        return clip.id

    def forget(self) -> None:
        """Drops those that were not known before."""
        for clip_id in self._new:
            self._client.delete(f"/v1/clips/{clip_id}")


@contextlib.contextmanager
def bringing_clips(client: GatewayClient) -> Iterator[BroughtClips]:
    """Clips of a command that is refused are not kept; what was worked out about the good one of them is."""
    clips = BroughtClips(client)
    try:
        yield clips
    except (InvalidInput, NotFound):
        with contextlib.suppress(UnderstudyError):  # the refusal is what the user must hear
            clips.forget()
        raise


def _request(job: Job, clips: BroughtClips, request_id: str) -> TransferRequest:
    options = job.options
    if job.background is not None:
        options = options.model_copy(update={"background": f"clip:{clips.bring(job.background)}"})
    return TransferRequest(
        source=job.source.use(clips.bring(job.source)),
        target=job.target.use(clips.bring(job.target)) if job.target is not None else None,
        performer=job.performer,
        options=options,
        request_id=request_id,
    )


def _raise_failure(transfer: Transfer) -> None:
    if transfer.state is State.CANCELLED:
        raise by_reason("CANCELLED")("the transfer was cancelled; the same command goes on where it stopped")
    if transfer.state is State.FAILED:
        if transfer.failure is None:
            raise Internal("the transfer failed and nobody wrote down why; the logs may say")
        raise by_reason(transfer.failure.reason)(transfer.failure.message, **transfer.failure.metadata)


def _save(job: Job, client: GatewayClient, transfer: Transfer) -> None:
    client.download(transfer.id, transfer.outputs[0].name, job.output)
    if job.options.side_by_side:
        client.download(transfer.id, "side_by_side", job.side_by_side_path)


def check_input(path: Path) -> None:
    """Raises what is wrong with a video that is not there or holds nothing."""
    if not path.exists():
        raise ResourceNotFound(f"no such file: {path}", path=path)
    if path.is_dir():
        raise UnreadableVideo(f"{path} is a folder; give a video file", path=path)
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise UnreadableVideo(f"cannot read {path}: {error.strerror}", path=path) from error
    if empty:
        raise UnreadableVideo(f"{path} is empty: 0 bytes", path=path)


def check_output(path: Path, endings: Sequence[str]) -> None:
    """Raises what would keep the file from being written, before the work is done for it."""
    if path.suffix.lower().lstrip(".") not in endings:
        raise InvalidOption(f"-o {path}: the name must end in .{', .'.join(endings)}", path=path)
    if path.is_dir():
        raise InvalidOption(f"-o {path} is a folder; give a file's name", path=path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InvalidOption(f"-o {path}: there is no folder {folder}", path=path)
    probe = folder / f".understudy-{os.getpid()}-{time.monotonic_ns()}"
    try:
        probe.write_bytes(b"understudy")
    except OSError as error:
        kind = StorageFull if error.errno == 28 else Forbidden
        raise kind(f"cannot write to {folder}: {error.strerror}; give another -o", path=path) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    if path.exists() and not os.access(path, os.W_OK):
        raise Forbidden(f"{path} is read-only; give another -o", path=path)


def _request_id(job: Job) -> str:
    """The same for the same videos and options, so that a command given again meets its own transfer."""

    def name(part: Part | None) -> object:
        if part is None:
            return None
        return [_digest(part), part.start_seconds, part.end_seconds, part.max_frames, part.subject]

    options = job.options.model_dump(mode="json")
    facts = [name(job.source), name(job.target), job.performer, options, name(job.background)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digest(part: Part) -> str:
    if part.is_url:
        return part.where
    with Path(part.where).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
