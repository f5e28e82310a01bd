"""Transfers as durable workflows (DBOS).

The workflow reads like its sentence: study both clips and make the performer side by side, fit the dance, render,
encode. Each line is a recorded step; a gateway that is killed takes up its transfers when it starts again with the
same executor id. Steps run at least once, which costs nothing: stage calls are idempotent.

Steps return JSON and never raise through DBOS, whose own way of storing exceptions is pickle: a failure is an
answer like any other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import Serializer as DBOSSerializer
from pydantic import BaseModel

from gateway import sql
from gateway.conductor import Conductor
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.resources import Failure, State, now
from gateway.results import Driven, Encoded, Rendered, Study, Trained
from services.common.errors import Cancelled, UnderstudyError
from services.common.telemetry import logger

_log = logger(__name__)

QUEUE: Final = "understudy-transfers"
APPLICATION_VERSION: Final = "1"
"""Pinned: a new build takes up the transfers of the old one. Raise it only when the workflow's steps change."""
_MOST_ATTEMPTS = 3
_SOON_SECONDS = 10.0
_ENDED = {"SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}

_conductors: dict[str, Conductor] = {}
_unfinished: set[asyncio.Future[object]] = set()
_THE = "the"


class JsonSerializer(DBOSSerializer):
    """DBOS keeps workflow data as JSON, never as pickle. Exceptions keep their text alone."""

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            data = {"exception": f"{type(data).__name__}: {data}"}
        return json.dumps(data)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - DBOS's own signature
        data = json.loads(serialized_data)
        if isinstance(data, dict) and data.keys() == {"exception"}:
            return RuntimeError(data["exception"])
        return data

    def name(self) -> str:
        return "understudy_json"


def configure(settings: GatewaySettings) -> None:
    """Creates this process's DBOS instance; `launch` starts it."""
    url = sql.checked_url(settings.workflow_url)
    config: DBOSConfig = {
        "name": "understudy",
        "system_database_url": url.render_as_string(hide_password=False),
        "application_version": APPLICATION_VERSION,
        "executor_id": settings.executor_id,
        "serializer": JsonSerializer(),
        "console_log_level": "WARNING",
        "notification_listener_polling_interval_sec": 0.5,
    }
    if url.get_backend_name() == "postgresql":
        # DBOS waits for a database that is away as long as it takes; a lost connection must only be noticed.
        config["db_engine_kwargs"] = {"connect_args": sql.POSTGRES_ARGUMENTS, "pool_pre_ping": True, "pool_size": 10}
    DBOS(config=config)


async def launch(settings: GatewaySettings, conductor: Conductor) -> None:
    """Starts the queue and recovers unfinished transfers, which run on the event loop that this is called on."""
    _conductors[_THE] = conductor
    DBOS.launch()
    await DBOS.register_queue_async(
        QUEUE,
        worker_concurrency=settings.concurrent_transfers,
        polling_interval_sec=0.2,
        on_conflict="always_update",
    )


def shut_down() -> None:
    """Stops without waiting: unfinished transfers are recovered by the next start."""
    DBOS.destroy(workflow_completion_timeout_sec=0)
    _conductors.pop(_THE, None)


async def enqueue(transfer_id: str) -> None:
    """Queues it, once however often it is called. While the database is away DBOS goes on trying in its thread."""
    with SetWorkflowID(transfer_id):
        await _soon(DBOS.enqueue_workflow_async(QUEUE, transfer, transfer_id))


async def cancel(transfer_id: str) -> None:
    await _soon(DBOS.cancel_workflow_async(transfer_id))


async def _soon(work: Coroutine[Any, Any, object]) -> None:
    task = asyncio.ensure_future(work)
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
    done, _ = await asyncio.wait({task}, timeout=_SOON_SECONDS)
    for each in done:
        each.result()


async def take_up(database: Database) -> None:
    """Brings table and queue together after a gateway was killed between its two writes: a transfer that was not
    queued is queued, and one whose workflow has ended without leaving a word is said to have failed."""
    active = {each.id: each for each in await asyncio.to_thread(database.active_transfers)}
    if not active:
        return
    workflows = await DBOS.list_workflows_async(workflow_ids=list(active), load_input=False, load_output=False)
    statuses = {each.workflow_id: each.status for each in workflows}
    for transfer_id, begun in active.items():
        status = statuses.get(transfer_id)
        if status is None:
            await enqueue(transfer_id)
        elif status in _ENDED:
            _log.warning("a transfer's workflow has ended without it", transfer_id=transfer_id, status=status)
            begun.state, begun.update_time = State.FAILED, now()
            begun.failure = Failure(reason="INTERNAL", message="the gateway lost track of it; the same request goes on")
            await asyncio.to_thread(database.save_transfer, begun)


@DBOS.workflow(name="transfer", max_recovery_attempts=1000)
async def transfer(transfer_id: str) -> dict[str, Any]:
    """One transfer, from whatever is committed to its end."""
    answer: dict[str, Any] = {}
    for _ in range(_MOST_ATTEMPTS):
        answer = await _attempt(transfer_id)
        if "mend" not in answer:
            break
        # something stored was damaged or gone: it has been set aside, and all else answers at once
    await _finish(transfer_id, answer)
    return answer


async def _attempt(transfer_id: str) -> dict[str, Any]:
    source, performer = await asyncio.gather(
        _or_abandon(transfer_id, _study_source(transfer_id)), _or_abandon(transfer_id, _make_performer(transfer_id))
    )
    failures = [answer for answer in (source, performer) if "failure" in answer]
    if failures:
        return min(failures, key=_weight)
    driven = await _normalize(transfer_id, source, performer)
    if "failure" in driven:
        return driven
    rendered = await _render(transfer_id, source, performer, driven)
    if "failure" in rendered:
        return rendered
    return await _encode(transfer_id, source, driven, rendered)


async def _or_abandon(transfer_id: str, step: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """A step's answer. When it failed, what is at work beside it would be for nothing and is stopped."""
    answer = await step
    if "failure" in answer and "mend" not in answer:
        await _conductors[_THE].abandon(transfer_id)
    return answer


def _weight(answer: dict[str, Any]) -> int:
    """What the user must hear first: a failure that stands, then one that the next attempt mends, then a stop."""
    if "mend" in answer:
        return 1
    return 2 if answer["failure"]["reason"] == Cancelled.reason else 0


async def _answer(transfer_id: str, work: Callable[[Conductor], Awaitable[BaseModel]]) -> dict[str, Any]:
    conductor = _conductors[_THE]
    try:
        async with conductor.stoppable(transfer_id):
            result = await work(conductor)
    except UnderstudyError as error:
        failure = Failure(reason=error.reason, message=error.message, metadata=error.metadata)
        mended = await conductor.mend(transfer_id, error)
        return {"failure": failure.model_dump()} | ({"mend": True} if mended else {})
    except Exception as error:  # noqa: BLE001 - the user must get an answer; the log keeps the whole story
        _log.exception("a step failed", transfer_id=transfer_id)
        message = f"the gateway failed ({type(error).__name__}); its log has the details, trying again may help"
        return {"failure": Failure(reason="INTERNAL", message=message).model_dump()}
    return result.model_dump(mode="json")


@DBOS.step()
async def _study_source(transfer_id: str) -> dict[str, Any]:
    return await _answer(transfer_id, lambda conductor: conductor.study_source(transfer_id))


@DBOS.step()
async def _make_performer(transfer_id: str) -> dict[str, Any]:
    return await _answer(transfer_id, lambda conductor: conductor.make_performer(transfer_id))


@DBOS.step()
async def _normalize(transfer_id: str, source: dict[str, Any], performer: dict[str, Any]) -> dict[str, Any]:
    study, trained = Study.model_validate(source), Trained.model_validate(performer)
    return await _answer(transfer_id, lambda conductor: conductor.normalize(transfer_id, study, trained))


@DBOS.step()
async def _render(
    transfer_id: str, source: dict[str, Any], performer: dict[str, Any], driven: dict[str, Any]
) -> dict[str, Any]:
    study, trained = Study.model_validate(source), Trained.model_validate(performer)
    dance = Driven.model_validate(driven)
    return await _answer(transfer_id, lambda conductor: conductor.render(transfer_id, study, trained, dance))


@DBOS.step()
async def _encode(
    transfer_id: str, source: dict[str, Any], driven: dict[str, Any], rendered: dict[str, Any]
) -> dict[str, Any]:
    study, dance, frames = (
        Study.model_validate(source),
        Driven.model_validate(driven),
        Rendered.model_validate(rendered),
    )
    return await _answer(transfer_id, lambda conductor: conductor.encode(transfer_id, study, dance, frames))


@DBOS.step()
async def _finish(transfer_id: str, answer: dict[str, Any]) -> None:
    failure = Failure.model_validate(answer["failure"]) if "failure" in answer else None
    encoded = None if failure else Encoded.model_validate(answer)
    await _conductors[_THE].finish(transfer_id, encoded, failure)
