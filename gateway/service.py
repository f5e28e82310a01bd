"""What users can ask for. gRPC and HTTP are thin adapters over this one object."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.auth import caller
from gateway.backgrounds import check_together, parse_background
from gateway.budget import with_iterations
from gateway.clients import StageClients
from gateway.conductor import Conductor
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.evaluations import Evaluations
from gateway.keys import Keys
from gateway.people import PeopleFinder
from gateway.references import artifact_refs, referenced
from gateway.resources import Clip, Output, Performer, Ref, State, Transfer, TransferRequest, now
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import (
    Conflict,
    FileTooLarge,
    InvalidInput,
    InvalidOption,
    ResourceNotFound,
    ServiceUnavailable,
    StorageFull,
    UnderstudyError,
    UnreadableVideo,
)

_WATCH_SECONDS = 0.3
_CANCEL_SECONDS = 15.0


@dataclass(frozen=True)
class Queue:
    """How transfers get their turn; `workflow.enqueue` and `workflow.cancel` in a running gateway."""

    enqueue: Callable[[str], Awaitable[None]]
    cancel: Callable[[str], Awaitable[None]]


class Understudy:
    """Clips, performers and transfers. Every method raises errors of services/common/errors.py."""

    def __init__(
        self,
        settings: GatewaySettings,
        database: Database,
        artifacts: Artifacts,
        clients: StageClients,
        conductor: Conductor,
        queue: Queue | None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._artifacts = artifacts
        self._clients = clients
        self._conductor = conductor
        self._queue = queue
        self.keys = Keys(database.engine)
        self.people = PeopleFinder(settings, database, artifacts, clients)
        self.evaluations = Evaluations(settings, database, artifacts, clients)

    async def ready(self) -> dict[str, bool]:
        """Whether each part answers: the services, "store" and "database"."""
        parts = await self._clients.health() if self._queue is not None else {}
        parts["store"] = await _answers(self._artifacts.store.ping)
        parts["database"] = await _answers(self._database.ping)
        return parts

    # clips

    async def create_clip_of_url(self, url: str, display_name: str = "") -> Clip:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise InvalidOption(f"not an http or https address: {url!r}", url=url)
        clip = Clip(id=uuid.uuid4().hex, display_name=display_name or url, url=url)
        await asyncio.to_thread(self._database.save_clip, clip)
        return clip

    async def create_clip(self, chunks: AsyncIterator[bytes], display_name: str) -> Clip:
        """Stores the bytes, named by their SHA-256. Bytes that are there already are not stored twice."""
        with tempfile.NamedTemporaryFile(dir=self._settings.spool_dir, prefix="understudy-upload-") as spool:
            digest, size = hashlib.sha256(), 0
            async for chunk in chunks:
                size += len(chunk)
                if size > self._settings.max_upload_bytes:
                    limit = self._settings.max_upload_bytes
                    raise FileTooLarge(f"the upload is larger than the limit of {limit:,} bytes", limit_bytes=limit)
                digest.update(chunk)
                try:
                    spool.write(chunk)
                except OSError as error:
                    raise StorageFull(f"no room to take the upload in: {error.strerror}") from error
            if size == 0:
                raise UnreadableVideo(f"{display_name or 'the upload'} is empty: 0 bytes", size_bytes=0)
            try:
                spool.flush()
            except OSError as error:
                raise StorageFull(f"no room to take the upload in: {error.strerror}") from error
            key = caller()
            if key is not None:
                await asyncio.to_thread(self.keys.count_upload, key, size)
            self._clients.metrics.upload_bytes.inc(size)
            sha256 = digest.hexdigest()
            path = Path(spool.name)
            await asyncio.to_thread(self._store_upload, sha256, size, path)
            clip = await asyncio.to_thread(self._clip_of_upload, sha256, size, display_name[:200])
            await asyncio.to_thread(self._store_upload, sha256, size, path)  # housekeeping may just have taken it
            return clip

    async def clip(self, clip_id: str) -> Clip:
        return await asyncio.to_thread(self._database.clip, clip_id)

    async def clips(self, page_size: int = 0, page_token: str = "") -> tuple[list[Clip], str]:
        return await asyncio.to_thread(self._database.clips, page_size, page_token)

    async def delete_clip(self, clip_id: str) -> None:
        """Forgets the clip, and its bytes when no other clip has the same."""
        await asyncio.to_thread(self._delete_clip, clip_id)

    # performers

    async def performer(self, id_or_name: str) -> Performer:
        return (await asyncio.to_thread(self._database.performer, id_or_name)).public()

    async def performers(self, page_size: int = 0, page_token: str = "") -> tuple[list[Performer], str]:
        found, token = await asyncio.to_thread(self._database.performers, page_size, page_token)
        return [each.public() for each in found], token

    async def delete_performer(self, id_or_name: str) -> None:
        await asyncio.to_thread(self._delete_performer, id_or_name)

    # transfers

    async def create_transfer(self, request: TransferRequest) -> Transfer:
        """Begins a transfer; the same request_id gives the same transfer while that one is under way."""
        if self._queue is None:
            raise ServiceUnavailable("this gateway only reads and deletes; start `understudy up`")
        transfer, known = await asyncio.to_thread(self._new_transfer, request)
        if not known:
            await self._queue.enqueue(transfer.id)
        return transfer

    async def transfer(self, transfer_id: str) -> Transfer:
        return await asyncio.to_thread(self._database.transfer, transfer_id)

    async def transfers(self, page_size: int = 0, page_token: str = "") -> tuple[list[Transfer], str]:
        return await asyncio.to_thread(self._database.transfers, page_size, page_token)

    async def watch_transfer(self, transfer_id: str) -> AsyncIterator[Transfer]:
        """The transfer now and after each change, until it has ended."""
        told = ""
        while True:
            transfer = await self.transfer(transfer_id)
            if transfer.update_time != told:
                told = transfer.update_time
                yield transfer
            if transfer.state.ended:
                return
            await asyncio.sleep(_WATCH_SECONDS)

    async def cancel_transfer(self, transfer_id: str) -> Transfer:
        """Stops a transfer and returns it once it has stopped. An ended one is returned as it is."""
        transfer = await self.transfer(transfer_id)
        if transfer.state.ended:
            return transfer
        if not await self._conductor.stop(transfer_id):
            # at work in another gateway, which sees it within a second and lets its services checkpoint; or not begun
            if self._queue is not None and transfer.state is State.QUEUED:
                await self._queue.cancel(transfer_id)
            transfer.state, transfer.update_time = State.CANCELLED, now()
            await asyncio.to_thread(self._database.save_transfer, transfer)
        deadline = asyncio.get_running_loop().time() + _CANCEL_SECONDS
        while not transfer.state.ended and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.1)
            transfer = await self.transfer(transfer_id)
        return transfer

    async def delete_transfer(self, transfer_id: str) -> None:
        """Forgets an ended transfer and deletes the artifacts that nothing else uses."""
        await asyncio.to_thread(self._delete_transfer, transfer_id)

    async def result_file(self, transfer_id: str, name: str = "") -> tuple[Path, Output]:
        """A local, verified copy of one output."""
        transfer = await self.transfer(transfer_id)
        if transfer.state is not State.SUCCEEDED:
            raise Conflict(f"transfer {transfer_id} has no result: it is {transfer.state.value}", id=transfer_id)
        for output in transfer.outputs:
            if name in {"", output.name}:
                artifact = await asyncio.to_thread(self._artifacts.open, _artifact(output.artifact))
                return await asyncio.to_thread(artifact.local_path, output.object_name), output
        names = ", ".join(output.name for output in transfer.outputs)
        raise ResourceNotFound(f"transfer {transfer_id} has no output {name!r}, only {names}", output=name)

    def hold_others(self, request_id: str) -> None:
        """Cancels transfers that an earlier, interrupted command line run left; `request_id`'s goes on."""
        for transfer in self._database.active_transfers():
            if transfer.request_id != request_id:
                transfer.state, transfer.update_time = State.CANCELLED, now()
                self._database.save_transfer(transfer)

    def _store_upload(self, sha256: str, size: int, path: Path) -> None:
        key = f"uploads/{sha256}"
        there = self._artifacts.store.stat(key)
        if there is None or there.size_bytes != size:
            self._artifacts.store.put_file(key, path)

    def _clip_of_upload(self, sha256: str, size: int, display_name: str) -> Clip:
        for known in self._database.clips_of_upload(sha256):
            if known.display_name == display_name:
                return known
        clip = Clip(id=uuid.uuid4().hex, display_name=display_name, upload_sha256=sha256, size_bytes=size)
        self._database.save_clip(clip)
        return clip

    def _new_transfer(self, request: TransferRequest) -> tuple[Transfer, bool]:
        for active in self._database.active_transfers(request.request_id) if request.request_id else ():
            return active, True
        if (request.target is None) == (not request.performer):
            raise InvalidInput("give either a target or a performer")
        uses = [use for use in (request.source, request.target) if use is not None]
        for use in uses:
            self._database.clip(use.clip_id)
            if use.end_seconds and use.end_seconds <= use.start_seconds:
                raise InvalidOption(
                    f"the end, {use.end_seconds:g} s, is not after the start, {use.start_seconds:g} s",
                    start_seconds=use.start_seconds, end_seconds=use.end_seconds,
                )  # fmt: skip
        options = with_iterations(request.options, request.target, self._database)
        background = parse_background(options.background)
        check_together(options.background, options.camera, options.formats)
        if background.clip_id:
            self._database.clip(background.clip_id)
        performer_id = self._database.performer(request.performer).id if request.performer else ""
        transfer = Transfer(
            id=uuid.uuid4().hex,
            request_id=request.request_id,
            source=request.source,
            target=request.target,
            performer_id=performer_id,
            options=options.model_copy(update={"background": str(background)}),
        )
        begun = self._database.add_transfer(transfer, caller())
        return begun, begun.id != transfer.id

    def _delete_clip(self, clip_id: str) -> None:
        clip = self._database.clip(clip_id)
        for transfer in self._database.active_transfers():
            behind = parse_background(transfer.options.background).clip_id
            if clip_id in {transfer.source.clip_id, transfer.target.clip_id if transfer.target else "", behind}:
                raise Conflict(f"transfer {transfer.id} is using clip {clip_id}: cancel it first", id=clip_id)
        self._database.delete_clip(clip_id)
        if clip.upload_sha256 and not self._database.clips_of_upload(clip.upload_sha256):
            self._artifacts.store.delete(f"uploads/{clip.upload_sha256}")
        self._delete_unused(clip.artifacts)

    def _delete_performer(self, id_or_name: str) -> None:
        performer = self._database.performer(id_or_name)
        for transfer in self._database.active_transfers():
            if transfer.performer_id == performer.id:
                raise Conflict(f"transfer {transfer.id} is using {performer.name!r}: cancel it first")
        self._database.delete_performer(performer.id)
        self._delete_unused([performer.artifact, *performer.artifacts])

    def _delete_transfer(self, transfer_id: str) -> None:
        transfer = self._database.transfer(transfer_id)
        if not transfer.state.ended:
            raise Conflict(f"transfer {transfer_id} is {transfer.state.value}: cancel it first", id=transfer_id)
        self._database.delete_transfer(transfer_id)
        self._delete_unused(transfer.artifacts)

    def _delete_unused(self, refs: list[Ref]) -> None:
        for ref in artifact_refs(refs) - referenced(self._database):
            self._artifacts.delete(ref)


def _artifact(ref: Ref) -> ArtifactRef:
    return ArtifactRef(ref.kind, ref.key)


async def _answers(ping: Callable[[], None]) -> bool:
    try:
        await asyncio.to_thread(ping)
    except UnderstudyError:
        return False
    return True
