"""The gateway's HTTP API, as the command line calls it."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from gateway.resources import Clip, ClipPeople, ClipUse, Evaluation, Performer, StageProgress, Transfer, TransferRequest
from services.common.errors import Forbidden, Internal, ServiceUnavailable, StorageFull, UnderstudyError, by_reason

_CHUNK_BYTES = 1 << 20
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.25


class GatewayClient:
    """Synchronous. Raises the errors that the gateway raised.

    check: called while waiting for a gateway that does not answer; raises when waiting is in vain.
    """

    def __init__(self, url: str, check: Callable[[], None] = lambda: None, key: str = "") -> None:
        self.url = url
        headers = {"authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(30.0, read=120.0)
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False, headers=headers)
        self._check = check

    def close(self) -> None:
        self._http.close()

    def upload(self, path: Path) -> Clip:
        def chunks() -> Iterator[bytes]:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

        def send() -> httpx.Response:
            headers = {"content-type": "application/octet-stream"}
            return self._http.post("/v1/clips", params={"display_name": path.name}, content=chunks(), headers=headers)

        return Clip.model_validate(self._patiently(send))

    def clip_of_url(self, url: str) -> Clip:
        return Clip.model_validate(self._patiently(lambda: self._http.post("/v1/clips", json={"url": url})))

    def create_transfer(self, request: TransferRequest) -> Transfer:
        # Only what was chosen: a gateway of another version may know other options.
        body = request.model_dump(mode="json", exclude_defaults=True)
        return Transfer.model_validate(self._patiently(lambda: self._http.post("/v1/transfers", json=body)))

    def transfer(self, transfer_id: str) -> Transfer:
        return Transfer.model_validate(self.get(f"/v1/transfers/{transfer_id}"))

    def performer(self, performer_id: str) -> Performer:
        return Performer.model_validate(self.get(f"/v1/performers/{performer_id}"))

    def watch(self, transfer_id: str) -> Iterator[Transfer]:
        """The transfer now and after each change, until it has ended. Lives through a gateway's restart."""
        told = ""
        while True:
            transfer = self.transfer(transfer_id)
            if transfer.update_time != told:
                told = transfer.update_time
                yield transfer
            if transfer.state.ended:
                return
            self._check()
            time.sleep(_POLL_SECONDS)

    def cancel(self, transfer_id: str) -> Transfer:
        return Transfer.model_validate(self._patiently(lambda: self._http.post(f"/v1/transfers/{transfer_id}/cancel")))

    def get(self, path: str, **params: Any) -> Any:
        return self._patiently(lambda: self._http.get(path, params=params))

    def delete(self, path: str) -> None:
        self._patiently(lambda: self._http.delete(path))

    def pages(self, kind: str) -> Iterator[dict[str, Any]]:
        """Every resource of a kind, newest first."""
        token = ""
        while True:
            page = self.get(f"/v1/{kind}", page_size=200, page_token=token)
            yield from page[kind]
            token = page["next_page_token"]
            if not token:
                return

    def download(self, transfer_id: str, output: str, destination: Path) -> None:
        """Saves one output; `destination` appears whole or not at all. Raises StorageFull, Forbidden."""
        self.save(f"/v1/transfers/{transfer_id}/result", destination, output=output)

    def people(self, use: ClipUse, tell: Callable[[list[StageProgress]], None]) -> ClipPeople:
        """Everybody in a clip; `tell` hears how far the stages are."""
        path = f"/v1/clips/{use.clip_id}/people/events"
        return ClipPeople.model_validate(self._awaited(path, part_of(use), tell))

    def evaluate(self, performer: str, tell: Callable[[list[StageProgress]], None]) -> Evaluation:
        """How good a performer is; `tell` hears how far the stages are."""
        return Evaluation.model_validate(self._awaited(f"/v1/performers/{performer}/evaluation/events", {}, tell))

    def _awaited(self, path: str, params: dict[str, float], tell: Callable[[list[StageProgress]], None]) -> Any:
        """What server-sent events end with."""
        with self._http.stream("GET", path, params=params) as answer:
            if answer.status_code >= 400:
                answer.read()
            _raise_for(answer)
            for line in answer.iter_lines():
                update = json.loads(line.removeprefix("data: ") or "{}")
                if "stages" in update:
                    tell([StageProgress.model_validate(stage) for stage in update["stages"]])
                elif "problem" in update:
                    raise _error_of(update["problem"])
                elif update:
                    return next(iter(update.values()))
        raise Internal("the gateway ended early; run the same command again")

    def save(self, path: str, destination: Path, **params: Any) -> None:
        """Saves what the gateway answers; `destination` appears whole or not at all. Raises StorageFull, Forbidden."""
        part = destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with (
                self._http.stream("GET", path, params=params) as answer,
                part.open("wb") as file,
            ):
                if answer.status_code >= 400:
                    answer.read()
                _raise_for(answer)
                for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.replace(destination)
        except OSError as error:
            kind = StorageFull if error.errno == 28 else Forbidden
            raise kind(
                f"cannot write {destination}: {error.strerror}; the result is kept: run the same command with "
                "another -o and it is there at once"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _patiently(self, send: Callable[[], httpx.Response]) -> Any:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = send()
                if answer.status_code != 503 or time.monotonic() > deadline:
                    break
            except httpx.TransportError as error:
                self._check()
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(f"the gateway does not answer: {error}") from error
            time.sleep(_POLL_SECONDS)
        _raise_for(answer)
        return answer.json() if answer.content else None


def _raise_for(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    try:
        error = _error_of(answer.json())
    except (ValueError, KeyError, TypeError):
        raise Internal(f"the gateway answered {answer.status_code}: {answer.text[:300]}") from None
    raise error


def _error_of(problem: dict[str, Any]) -> UnderstudyError:
    return by_reason(problem["reason"])(problem["detail"], **problem["metadata"])


def part_of(use: ClipUse) -> dict[str, float]:
    """The part of a clip as query parameters."""
    return {"start_seconds": use.start_seconds, "end_seconds": use.end_seconds, "max_frames": use.max_frames}
