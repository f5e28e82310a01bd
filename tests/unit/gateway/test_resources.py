"""Resources have the same fields over HTTP and gRPC, and requests are checked the same way."""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from understudy.v1 import gateway_pb2 as pb

from gateway import resources
from gateway.grpc_api import to_message, to_request
from gateway.resources import ClipUse, Failure, StageProgress, State, Transfer
from services.common.errors import InvalidInput

PAIRS: list[tuple[type[BaseModel], object, set[str]]] = [
    (resources.Clip, pb.ClipResource, set()),
    (resources.Performer, pb.PerformerResource, set()),
    (resources.ClipUse, pb.ClipUse, set()),
    (resources.TransferOptions, pb.TransferOptions, set()),
    (resources.StageProgress, pb.StageProgress, set()),
    (resources.Failure, pb.Failure, set()),
    (resources.Output, pb.TransferOutput, {"object_name"}),
    (resources.Transfer, pb.Transfer, set()),
]


@pytest.mark.parametrize(("model", "message", "private"), PAIRS)
def test_fields_are_the_same_over_http_and_grpc(model: type[BaseModel], message: object, private: set[str]) -> None:
    fields = {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
    assert set(model.model_fields) - private == fields


def test_a_transfer_keeps_its_meaning_as_a_message() -> None:
    transfer = Transfer(
        id="t",
        source=ClipUse(clip_id="c", start_seconds=1.5),
        state=State.FAILED,
        stages=[StageProgress(stage="pose", role="source", done=3, total=9)],
        failure=Failure(reason="NO_PERSON_FOUND", message="nobody", metadata={"frames": "9"}),
    )
    message = to_message(transfer, pb.Transfer)
    assert message.state == pb.Transfer.FAILED
    assert message.source.start_seconds == 1.5
    assert not message.HasField("target")
    assert message.stages[0].done == 3
    assert dict(message.failure.metadata) == {"frames": "9"}


def test_a_grpc_request_is_checked_as_an_http_request_is() -> None:
    good = pb.CreateTransferRequest(source=pb.ClipUse(clip_id="a"), target=pb.ClipUse(clip_id="b"))
    assert to_request(good).target == ClipUse(clip_id="b")
    bad = pb.CreateTransferRequest(source=pb.ClipUse(clip_id="a"), performer="p")
    bad.options.preset = "fastest"
    with pytest.raises(InvalidInput, match=r"options\.preset"):
        to_request(bad)


def test_a_draft_has_no_family_and_trainings_are_told_apart() -> None:
    bad = pb.CreateTransferRequest(source=pb.ClipUse(clip_id="a"), target=pb.ClipUse(clip_id="b"))
    bad.options.preset, bad.options.family = "draft", "pix2pixhd"
    with pytest.raises(InvalidInput, match="draft"):
        to_request(bad)
    bad.options.preset, bad.options.background = "preview", "transparent"
    with pytest.raises(InvalidInput, match="its own background"):
        to_request(bad)
    options = resources.TransferOptions
    assert options().training == options(family="composite").training == "preview"
    assert options(family="pix2pixhd", preset="hd").training == "pix2pixhd-hd"
