"""Every artifact that a message names is found, at any depth."""

from __future__ import annotations

from understudy.v1 import downloader_pb2, pose_pb2, trainer_pb2, types_pb2

from gateway.messages import refs_in


def ref(kind: str, digit: str) -> types_pb2.ArtifactRef:
    return types_pb2.ArtifactRef(kind=kind, key=digit * 64)


def test_artifacts_are_found_at_any_depth() -> None:
    shards = [types_pb2.FrameShard(artifact=ref("frame_shard", digit)) for digit in "12"]
    clip = types_pb2.Clip(artifact=ref("clip", "0"), shards=shards)
    found = list(refs_in(downloader_pb2.IngestResponse(clip=clip)))
    assert {(each.kind, each.key[0]) for each in found} == {("clip", "0"), ("frame_shard", "1"), ("frame_shard", "2")}
    answer = pose_pb2.EstimatePosesResponse(artifact=ref("pose_shard", "3"))
    assert [each.kind for each in refs_in(answer)] == ["pose_shard"]


def test_messages_without_artifacts_name_none() -> None:
    progress = trainer_pb2.TrainResponse(progress=types_pb2.Progress(done=1))
    assert list(refs_in(progress)) == []
    assert list(refs_in(trainer_pb2.TrainResponse(performer=trainer_pb2.Performer(metrics={"ssim": 1.0})))) == []
