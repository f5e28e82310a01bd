"""gRPC: a thin adapter over `Understudy`. Resources have the same fields in both; errors pass the interceptor."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError
from understudy.v1 import gateway_pb2 as pb
from understudy.v1 import gateway_pb2_grpc

from gateway.resources import ClipPeople, ClipUse, Evaluation, TransferRequest, invalid_input
from gateway.service import Understudy
from services.common import rpc
from services.common.errors import InvalidInput

M = TypeVar("M", bound=Message)
B = TypeVar("B", bound=BaseModel)
Context = grpc.aio.ServicerContext[Any, Any]
_CHUNK_BYTES = 1 << 20


def to_message(resource: BaseModel, message_type: type[M]) -> M:
    """The resource as its message: fields of the same names."""
    return json_format.ParseDict(_filled(resource.model_dump(mode="json")), message_type(), ignore_unknown_fields=True)


def to_request(message: pb.CreateTransferRequest) -> TransferRequest:
    """Raises InvalidInput naming the field that does not fit."""
    document = rpc.to_facts(message)
    if not message.HasField("target"):
        document.pop("target", None)
    return _validated(document, TransferRequest)


def to_use(message: pb.ClipUse) -> ClipUse:
    """Raises InvalidInput naming the field that does not fit."""
    return _validated(rpc.to_facts(message), ClipUse)


def _validated(document: dict[str, Any], model: type[B]) -> B:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid_input(error.errors()) from error


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """understudy.v1.GatewayService."""

    def __init__(self, understudy: Understudy) -> None:
        self._understudy = understudy

    async def CreateClip(
        self, requests: AsyncIterator[pb.CreateClipRequest], context: Context
    ) -> pb.CreateClipResponse:
        parts = aiter(requests)
        first = await anext(parts, None)
        if first is None or not first.HasField("spec"):
            raise InvalidInput("the first message must be the specification of the clip")
        spec = first.spec
        if spec.url:
            clip = await self._understudy.create_clip_of_url(spec.url, spec.display_name)
        else:
            clip = await self._understudy.create_clip(_chunks(parts), spec.display_name)
        return pb.CreateClipResponse(clip=to_message(clip, pb.ClipResource))

    async def GetClip(self, request: pb.GetClipRequest, context: Context) -> pb.GetClipResponse:
        clip = await self._understudy.clip(request.id)
        return pb.GetClipResponse(clip=to_message(clip, pb.ClipResource))

    async def ListClips(self, request: pb.ListClipsRequest, context: Context) -> pb.ListClipsResponse:
        clips, token = await self._understudy.clips(request.page_size, request.page_token)
        return pb.ListClipsResponse(clips=[to_message(each, pb.ClipResource) for each in clips], next_page_token=token)

    async def DeleteClip(self, request: pb.DeleteClipRequest, context: Context) -> pb.DeleteClipResponse:
        await self._understudy.delete_clip(request.id)
        return pb.DeleteClipResponse()

    async def FindPeople(self, request: pb.FindPeopleRequest, context: Context) -> AsyncIterator[pb.FindPeopleResponse]:
        async with contextlib.aclosing(self._understudy.people.watch(to_use(request.clip))) as updates:
            async for update in updates:
                if not isinstance(update, ClipPeople):
                    for stage in update:
                        yield pb.FindPeopleResponse(progress=to_message(stage, pb.StageProgress))
                    continue
                yield pb.FindPeopleResponse(people=to_message(update, pb.ClipPeople))
                if sheet := await self._understudy.people.sheet(update):
                    yield pb.FindPeopleResponse(sheet=sheet)

    async def GetPerformer(self, request: pb.GetPerformerRequest, context: Context) -> pb.GetPerformerResponse:
        performer = await self._understudy.performer(request.id)
        return pb.GetPerformerResponse(performer=to_message(performer, pb.PerformerResource))

    async def ListPerformers(self, request: pb.ListPerformersRequest, context: Context) -> pb.ListPerformersResponse:
        performers, token = await self._understudy.performers(request.page_size, request.page_token)
        return pb.ListPerformersResponse(
            performers=[to_message(each, pb.PerformerResource) for each in performers], next_page_token=token
        )

    async def DeletePerformer(self, request: pb.DeletePerformerRequest, context: Context) -> pb.DeletePerformerResponse:
        await self._understudy.delete_performer(request.id)
        return pb.DeletePerformerResponse()

    async def EvaluatePerformer(
        self, request: pb.EvaluatePerformerRequest, context: Context
    ) -> AsyncIterator[pb.EvaluatePerformerResponse]:
        async with contextlib.aclosing(self._understudy.evaluations.watch(request.id)) as updates:
            async for update in updates:
                if isinstance(update, Evaluation):
                    yield pb.EvaluatePerformerResponse(evaluation=to_message(update, pb.Evaluation))
                    continue
                for stage in update:
                    yield pb.EvaluatePerformerResponse(progress=to_message(stage, pb.StageProgress))

    async def ReadEvaluation(
        self, request: pb.ReadEvaluationRequest, context: Context
    ) -> AsyncIterator[pb.ReadEvaluationResponse]:
        for chunk in _file_chunks(await self._understudy.evaluations.file(request.id, request.name)):
            yield pb.ReadEvaluationResponse(chunk=chunk)

    async def CreateTransfer(self, request: pb.CreateTransferRequest, context: Context) -> pb.CreateTransferResponse:
        transfer = await self._understudy.create_transfer(to_request(request))
        return pb.CreateTransferResponse(transfer=to_message(transfer, pb.Transfer))

    async def GetTransfer(self, request: pb.GetTransferRequest, context: Context) -> pb.GetTransferResponse:
        transfer = await self._understudy.transfer(request.id)
        return pb.GetTransferResponse(transfer=to_message(transfer, pb.Transfer))

    async def ListTransfers(self, request: pb.ListTransfersRequest, context: Context) -> pb.ListTransfersResponse:
        transfers, token = await self._understudy.transfers(request.page_size, request.page_token)
        return pb.ListTransfersResponse(
            transfers=[to_message(each, pb.Transfer) for each in transfers], next_page_token=token
        )

    async def CancelTransfer(self, request: pb.CancelTransferRequest, context: Context) -> pb.CancelTransferResponse:
        transfer = await self._understudy.cancel_transfer(request.id)
        return pb.CancelTransferResponse(transfer=to_message(transfer, pb.Transfer))

    async def DeleteTransfer(self, request: pb.DeleteTransferRequest, context: Context) -> pb.DeleteTransferResponse:
        await self._understudy.delete_transfer(request.id)
        return pb.DeleteTransferResponse()

    async def WatchTransfer(
        self, request: pb.WatchTransferRequest, context: Context
    ) -> AsyncIterator[pb.WatchTransferResponse]:
        async for transfer in self._understudy.watch_transfer(request.id):
            yield pb.WatchTransferResponse(transfer=to_message(transfer, pb.Transfer))

    async def ReadResult(self, request: pb.ReadResultRequest, context: Context) -> AsyncIterator[pb.ReadResultResponse]:
        path, _ = await self._understudy.result_file(request.id, request.output)
        for chunk in _file_chunks(path):
            yield pb.ReadResultResponse(chunk=chunk)


async def _chunks(parts: AsyncIterator[pb.CreateClipRequest]) -> AsyncIterator[bytes]:
    async for part in parts:
        if not part.HasField("chunk"):
            raise InvalidInput("after the specification only chunks may follow")
        yield part.chunk


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
