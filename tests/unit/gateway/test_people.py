"""What looking for people and judging leave behind, and what goes with the clip or the performer."""

from __future__ import annotations

from pathlib import Path

import pytest
from understudy.v1 import pose_pb2, types_pb2

from gateway.clients import StageClients
from gateway.config import GatewaySettings
from gateway.database import Database
from gateway.people import PeopleFinder
from gateway.resources import Clip, ClipUse, MeasuredRow, Ref, TransferRequest
from gateway.results import Judged, Study, Trained
from services.common.artifacts import Artifacts
from services.common.errors import InvalidOption
from services.common.store import FileObjectStore


def ref(kind: str, digit: str) -> Ref:
    return Ref(kind=kind, key=digit * 64)


async def test_what_was_made_for_a_clip_is_written_down_once(tmp_path: Path) -> None:
    settings = GatewaySettings(store_url=(tmp_path / "store").as_uri(), database_url=f"sqlite:///{tmp_path / 'g.db'}")
    database = Database(settings.database_url)
    artifacts = Artifacts(FileObjectStore(tmp_path / "store"), tmp_path / "cache")
    clients = StageClients(settings)
    finder = PeopleFinder(settings, database, artifacts, clients)
    clip = Clip(id="a", upload_sha256="0" * 64)
    database.save_clip(clip)

    def made(kind: str, digit: str) -> types_pb2.ArtifactRef:
        return types_pb2.ArtifactRef(kind=kind, key=digit * 64)

    ingested = types_pb2.Clip(
        artifact=made("clip", "1"), shards=[types_pb2.FrameShard(artifact=made("frame_shard", "2"))]
    )
    answer = pose_pb2.ListPeopleResponse(artifact=made("people", "4"))
    for _ in range(2):
        finder._keep(database.clip("a"), ingested, [made("pose_shard", "3")], answer)
    kinds = [each.kind for each in database.clip("a").artifacts]
    assert kinds == ["clip", "frame_shard", "pose_shard", "people"]
    await clients.close()
    database.close()


def test_one_wish_in_many_words_is_one_request() -> None:
    def spelt(subject: str) -> str:
        return TransferRequest(source=ClipUse(clip_id="a", subject=subject), performer="p").source.subject

    assert {spelt(word) for word in ("", "1", "largest", "index:0")} == {""}
    assert {spelt(word) for word in ("2", "index:1")} == {"index:1"}
    with pytest.raises(InvalidOption):
        spelt("somebody")


def test_what_is_measured_on_the_rendered_pictures_takes_its_place() -> None:
    study = Study(
        clip=ref("clip", "1"), shards=[], first_frames=[], pose_shards=[], track=ref("pose_track", "1"),
        camera=ref("camera_path", "1"), frame_count=9, valid_frame_count=9, upload_sha256="", warnings=[],
    )  # fmt: skip
    trained = Trained(
        performer=ref("performer", "2"), study=study, refs=[ref("plate", "3")], preset="preview",
        metrics={"person_ssim": 0.5, "own": 1.0}, nearest_metrics={}, draft_metrics={}, warnings=[],
    )  # fmt: skip
    rows = [MeasuredRow(name="performer", metrics={"person_ssim": 0.49, "missed_poses": 0.0})]
    judged = Judged(artifact=ref("evaluation", "4"), frame_count=60, rows=rows, refs=[ref("evaluation", "4")])
    for _ in range(2):
        trained.judged(judged)
    assert trained.metrics == {"person_ssim": 0.49, "missed_poses": 0.0, "own": 1.0}
    assert trained.refs == [ref("plate", "3"), ref("evaluation", "4")]
