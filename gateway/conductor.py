"""The conductor: gives each running transfer its pipeline and its board, and writes down how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from opentelemetry import trace

from gateway.backgrounds import further_stages, parse_background
from gateway.board import Board
from gateway.clients import StageClients
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.pipeline import Pipeline
from gateway.resources import Clip, Failure, Ref, State, Transfer, now
from gateway.results import Driven, Encoded, Rendered, Study, Trained, new_performer
from gateway.sql import patiently
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.errors import ArtifactNotFound, Cancelled, Conflict, DataCorrupted, InvalidInput, UnderstudyError
from services.common.telemetry import logger, transfer_span

_log = logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
_SAVE_SECONDS = 0.5


@dataclass
class _Live:
    """A transfer at work in this process."""

    transfer: Transfer
    board: Board
    pipeline: Pipeline
    began: float
    elapsed_before: float
    tasks: set[asyncio.Task[object]] = field(default_factory=set)
    stopping: bool = False
    saver: asyncio.Task[None] | None = None
    span: trace.Span = trace.INVALID_SPAN


class Conductor:
    """Runs on one event loop. Blocking calls of database and store go through threads."""

    def __init__(
        self, settings: GatewaySettings, database: Database, clients: StageClients, artifacts: Artifacts
    ) -> None:
        self._settings = settings
        self._database = database
        self._clients = clients
        self._artifacts = artifacts
        self._live: dict[str, _Live] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    # the steps

    async def study_source(self, transfer_id: str) -> Study:
        live = await self._open(transfer_id)
        use = live.transfer.source
        clip = await self._kept(self._database.clip, use.clip_id)
        with _naming("source", clip):
            study = await live.pipeline.study(clip, use, "source")
        study = await self._with_backdrop(live, study)
        self._note(live, study.refs(), study.warnings)
        return study

    async def make_performer(self, transfer_id: str) -> Trained:
        live = await self._open(transfer_id)
        if live.transfer.target is None:
            stored = await self._kept(self._database.performer, live.transfer.performer_id)
            trained = stored.trained()
        else:
            clip = await self._kept(self._database.clip, live.transfer.target.clip_id)
            with _naming("target", clip):
                study = await live.pipeline.study(clip, live.transfer.target, "target")
            trained = await live.pipeline.train(study)
            if trained.preset != "draft":
                trained.judged(await live.pipeline.judge(trained.performer, study, trained.refs))
            live.transfer.performer_id = await self._register(live.transfer, clip.display_name, trained)
            trained.warnings = [*study.warnings, *trained.warnings]
        live.transfer.metrics, live.transfer.nearest_metrics = trained.metrics, trained.nearest_metrics
        live.transfer.draft_metrics = trained.draft_metrics
        self._note(live, trained.refs, trained.warnings)
        return trained

    async def normalize(self, transfer_id: str, source: Study, trained: Trained) -> Driven:
        live = await self._open(transfer_id)
        target = trained.study
        driven = await live.pipeline.normalize(source, target.clip, target.track, target.camera)
        self._note(live, [driven.track], driven.warnings)
        return driven

    async def render(self, transfer_id: str, source: Study, trained: Trained, driven: Driven) -> Rendered:
        live = await self._open(transfer_id)
        rendered = await live.pipeline.render(source, trained, driven)
        self._note(live, rendered.shards, [])
        return rendered

    async def encode(self, transfer_id: str, source: Study, driven: Driven, rendered: Rendered) -> Encoded:
        live = await self._open(transfer_id)
        encoded = await live.pipeline.encode(source, driven, rendered)
        self._note(live, [output.artifact for output in encoded.outputs], [])
        live.transfer.summary = (
            f"{driven.valid_frame_count} of {driven.frame_count} source frames performed"
            if encoded.dropped_frames
            else f"all {driven.frame_count} source frames performed"
        )
        return encoded

    async def finish(self, transfer_id: str, encoded: Encoded | None, failure: Failure | None) -> None:
        """Writes the end of a transfer down, and what its stages took."""
        live = await self._open(transfer_id)
        if encoded is not None:
            live.transfer.state, live.transfer.outputs = State.SUCCEEDED, encoded.outputs
        elif failure is not None and failure.reason == Cancelled.reason:
            live.transfer.state = State.CANCELLED
        else:
            live.transfer.state, live.transfer.failure = State.FAILED, failure
        if live.saver is not None:
            live.saver.cancel()
        self._live.pop(transfer_id, None)
        live.span.set_attributes({"understudy.transfer_id": transfer_id, "understudy.state": live.transfer.state.value})
        if live.transfer.state is State.FAILED:
            live.span.set_status(trace.StatusCode.ERROR, live.transfer.failure.reason if live.transfer.failure else "")
        live.span.end()
        if await self._kept(self._save, live):
            self._clients.metrics.transfer_ended(live.transfer.state, live.transfer.elapsed_seconds)
        else:
            _log.info("the transfer was ended elsewhere", transfer_id=transfer_id)
        for stage, seconds_per_unit in live.board.measured.items():
            await self._kept(self._database.save_stage_rate, stage, seconds_per_unit)
        _log.info("transfer ended", transfer_id=transfer_id, state=live.transfer.state.value)

    # around the steps

    @contextlib.asynccontextmanager
    async def stoppable(self, transfer_id: str) -> AsyncIterator[None]:
        """Lets `stop` end what runs inside, as Cancelled."""
        live = await self._open(transfer_id)
        task = asyncio.current_task()
        assert task is not None
        _refuse_stopped(live)
        live.tasks.add(task)
        try:
            with trace.use_span(live.span, record_exception=False, set_status_on_exception=False):
                yield
        except asyncio.CancelledError:
            if live.stopping:
                task.uncancel()
            _refuse_stopped(live)
            raise
        finally:
            live.tasks.discard(task)

    async def stop(self, transfer_id: str) -> bool:
        """Ends a transfer at work here. False when it is not at work here."""
        live = self._live.get(transfer_id)
        if live is None:
            return False
        _stop(live)
        return True

    async def abandon(self, transfer_id: str) -> None:
        """Ends what is still at work for a transfer that has failed; its services checkpoint."""
        _stop(await self._open(transfer_id))

    async def mend(self, transfer_id: str, error: UnderstudyError) -> bool:
        """Sets a damaged or half-gone artifact aside, so that the next attempt makes it anew. True when it did."""
        if not isinstance(error, DataCorrupted | ArtifactNotFound) or "key" not in error.metadata:
            return False
        ref = ArtifactRef(error.metadata["kind"], error.metadata["key"])
        live = await self._open(transfer_id)
        _log.warning("an artifact is damaged and will be made anew", kind=ref.kind, key=ref.key)
        await asyncio.to_thread(self._artifacts.delete, ref)
        if ref.kind == "frame_shard":  # made by the call that made its clip: that one must be made again too
            for other in live.transfer.artifacts:
                if other.kind == "clip":
                    await asyncio.to_thread(self._artifacts.delete, ArtifactRef(other.kind, other.key))
        live.transfer.warnings.append(f"a stored {ref.kind} was damaged and was made anew")
        return True

    async def _open(self, transfer_id: str) -> _Live:
        lock = self._opening.setdefault(transfer_id, asyncio.Lock())
        async with lock:
            live = self._live.get(transfer_id)
            if live is None:
                live = await self._begin(transfer_id)
        self._opening.pop(transfer_id, None)
        return live

    async def _begin(self, transfer_id: str) -> _Live:
        transfer = await self._kept(self._database.transfer, transfer_id)
        rates = await self._kept(self._database.stage_rates)
        further = further_stages(transfer.options.background)
        training = transfer.options.training
        board = Board.plan(training, rates, with_training=transfer.target is not None, further=further)
        board.restore(transfer.stages)
        pipeline = Pipeline(self._settings, self._clients, board, transfer_id, transfer.options)
        live = _Live(transfer, board, pipeline, time.monotonic(), transfer.elapsed_seconds)
        if not transfer.state.ended:
            transfer.state, transfer.warnings = State.RUNNING, []
            live.span = transfer_span(transfer_id)
            live.saver = asyncio.create_task(self._keep_saving(live))
        self._live[transfer_id] = live
        return live

    async def _with_backdrop(self, live: _Live, study: Study) -> Study:
        background = live.transfer.options.background
        clip_id = parse_background(background).clip_id
        if not clip_id:
            return await live.pipeline.backdrop(study, background, None)
        clip = await asyncio.to_thread(self._database.clip, clip_id)
        with _naming("background", clip):
            return await live.pipeline.backdrop(study, background, clip)

    async def _keep_saving(self, live: _Live) -> None:
        while True:
            try:
                if not await asyncio.to_thread(self._save, live):
                    # another gateway was asked to cancel it, or it is gone
                    live.transfer.state = State.CANCELLED
                    _stop(live)
                    return
            except UnderstudyError as error:  # the next save may succeed; the work itself goes on
                _log.warning("cannot save a transfer's progress", reason=error.reason, error=error.message)
            await asyncio.sleep(_SAVE_SECONDS)

    async def _kept(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await patiently(self._settings.database_retry_seconds, call, *arguments, **named)

    def _save(self, live: _Live) -> bool:
        transfer = live.transfer
        self._note(live, live.pipeline.made, [])
        transfer.stages = live.board.snapshot()
        transfer.stage = live.board.now_at
        transfer.elapsed_seconds = round(live.elapsed_before + time.monotonic() - live.began, 1)
        transfer.remaining_seconds = 0.0 if transfer.state.ended else live.board.remaining_seconds()
        transfer.update_time = now()
        return self._database.save_transfer(transfer)

    def _note(self, live: _Live, refs: list[Ref], warnings: list[str]) -> None:
        known = {(ref.kind, ref.key) for ref in live.transfer.artifacts}
        live.transfer.artifacts.extend(ref for ref in refs if (ref.kind, ref.key) not in known)
        live.transfer.warnings.extend(text for text in warnings if text not in live.transfer.warnings)

    async def _register(self, transfer: Transfer, target_name: str, trained: Trained) -> str:
        """The id of the performer's resource, made when this artifact has none."""
        while True:
            everyone = await self._kept(self._database.all_performers)
            for each in everyone:
                if each.artifact == trained.performer:
                    return each.id
            stored = new_performer(transfer, target_name, trained, {each.name for each in everyone})
            try:
                await self._kept(self._database.save_performer, stored)
            except Conflict:  # another transfer, perhaps in another gateway, took the name just now: look again
                continue
            return stored.id


@contextlib.contextmanager
def _naming(role: str, clip: Clip) -> Iterator[None]:
    """Of two videos, says which one is refused."""
    try:
        yield
    except InvalidInput as error:
        if "role" in error.metadata:
            raise
        named = {"role": role, "clip": clip.display_name, **error.metadata}
        raise type(error)(f"{role} {clip.display_name}: {error.message}", **named) from error


def _stop(live: _Live) -> None:
    live.stopping = True
    for task in list(live.tasks):
        task.cancel()


def _refuse_stopped(live: _Live) -> None:
    if live.stopping or live.transfer.state is State.CANCELLED:
        raise Cancelled("the transfer was cancelled; the same command goes on where it stopped")
