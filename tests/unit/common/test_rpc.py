"""Between gRPC and the rest: references, facts and statuses."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from understudy.v1 import pose_pb2, trainer_pb2, types_pb2

from services.common import errors, rpc
from services.common.artifacts import ArtifactRef, Artifacts, Recipe, canonical_json
from services.common.stage import Progress

REF = ArtifactRef("clip", "0123456789abcdef" * 4)


def test_references_both_ways() -> None:
    assert rpc.to_ref(rpc.from_ref(REF)) == REF
    assert rpc.to_refs([rpc.from_ref(REF)] * 2) == [REF, REF]
    with pytest.raises(errors.InvalidOption):
        rpc.to_ref(types_pb2.ArtifactRef())


def test_an_artifact_of_another_kind_is_refused() -> None:
    assert rpc.expect_kind(REF, "clip") is REF
    assert rpc.expect_kind(REF, "plate", "clip") is REF
    with pytest.raises(errors.InvalidOption, match="need a plate or performer artifact, got a clip"):
        rpc.expect_kind(REF, "plate", "performer")


def test_facts_are_the_json_of_the_result(artifacts: Artifacts) -> None:
    message = types_pb2.Clip(
        shards=[types_pb2.FrameShard(artifact=rpc.from_ref(REF), first_frame=0, frame_count=64)],
        width=1920, height=1080, frame_count=2**40, frame_rate=types_pb2.Rational(numerator=24000, denominator=1001),
        duration_seconds=0.1, warnings=["ä"],
    )  # fmt: skip
    facts = rpc.to_facts(message)
    assert facts["frame_count"] == 2**40
    assert facts["shards"][0]["frame_count"] == 64
    assert facts["frame_rate"] == {"numerator": 24000, "denominator": 1001}
    assert facts["has_audio"] is False
    assert "crop" not in facts
    recipe = Recipe("clip", "downloader", 1)
    made = artifacts.commit(artifacts.write(recipe), facts)
    answer = rpc.from_artifact(made, types_pb2.Clip)
    message.artifact.CopyFrom(rpc.from_ref(recipe.ref))
    assert answer == message


int64s = st.integers(-(2**53), 2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]))
samples = st.builds(
    trainer_pb2.Performer,
    preset=texts,
    iterations=int64s,
    metrics=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    warnings=st.lists(texts, max_size=3),
)
tracks = st.builds(
    pose_pb2.AssembleTrackResponse,
    frame_count=int64s,
    invalid_ranges=st.lists(st.builds(types_pb2.FrameRange, first_frame=int64s, reason=texts), max_size=3),
    median_height_px=st.floats(allow_nan=False, allow_infinity=False),
)


@given(samples | tracks)
def test_facts_survive_the_store(message: Any) -> None:
    facts = rpc.to_facts(message)
    assert rpc.from_facts(facts, type(message)) == message
    canonical_json(facts)
    assert not any(isinstance(value, str) and value.isdigit() for name, value in facts.items() if "frame" in name)


def test_facts_of_a_newer_version_are_read() -> None:
    assert rpc.from_facts({"width": 7, "added_later": 1}, types_pb2.Clip).width == 7


def test_progress() -> None:
    told = rpc.from_progress(Progress(3, 10, "frames", "decoding"))
    assert (told.done, told.total, told.unit, told.message) == (3, 10, "frames", "decoding")


def test_a_status_carries_reason_domain_and_metadata() -> None:
    status = rpc.to_status(errors.NoPersonFound("no person in 412 of 412 frames", frames=412))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == ("NO_PERSON_FOUND", "understudy", {"frames": "412"})
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert status.message == "no person in 412 of 412 frames"


@given(st.text(st.characters(), max_size=3000), st.dictionaries(texts, st.text(st.characters()), max_size=12))
def test_any_error_fits_a_status(message: str, metadata: dict[str, str]) -> None:
    status = rpc.to_status(errors.Internal(message, **metadata))
    assert status.ByteSize() < 4000
    assert message.encode("utf-8", "replace").decode().startswith(status.message)
