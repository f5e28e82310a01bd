"""The whole pipeline as its users run it: seven processes, two synthetic dancers, one command."""

from __future__ import annotations

import asyncio
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from gateway.cli.client import GatewayClient
from gateway.cli.exits import Exit
from gateway.cli.home import Home
from gateway.cli.stack import Stack
from gateway.resources import ClipUse, State, Transfer, TransferOptions, TransferRequest
from services.common.artifacts import ArtifactRef, Artifacts
from services.common.store import FileObjectStore
from services.common.synthetic import SyntheticPair, compare_to_truth
from services.common.tracks import PoseTrack
from services.common.video.write import write_video
from tests.integration.conftest import OPTIONS, SOURCE_FRAMES, Finished
from tests.support.program import Run, alive, artifacts, manifest_times, stage_of


def test_the_result_has_the_targets_size_and_the_sources_rate_frames_and_sound(undisturbed: Finished) -> None:
    with av.open(str(undisturbed.output)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == (320, 320)
        assert video.average_rate == Fraction(25)
        assert video.codec_context.pix_fmt == "yuv420p"
        assert audio.codec_context.sample_rate > 0
        assert "synthetic" in " ".join(container.metadata.values()).lower()
        frames = sum(1 for _ in container.decode(video))
    result = undisturbed.run.result
    assert frames == result["outputs"][0]["frame_count"]
    assert frames >= SOURCE_FRAMES - 5
    assert str(SOURCE_FRAMES) in result["summary"]


def test_the_transfer_says_what_it_does_and_how_long_it_takes(undisturbed: Finished) -> None:
    stages = [(each["role"], each["stage"]) for each in undisturbed.run.result["stages"]]
    assert stages == [
        ("source", "download"), ("source", "pose"), ("source", "camera"),
        ("target", "download"), ("target", "pose"), ("target", "camera"), ("target", "segmentation"),
        ("target", "plate"), ("target", "training"), ("target", "evaluation"),
        ("result", "normalization"), ("result", "rendering"), ("result", "encoding"),
    ]  # fmt: skip
    assert all(each["state"] == "SUCCEEDED" for each in undisturbed.run.result["stages"])
    training = [stage_of(event, "training") for event in undisturbed.run.events]
    assert {each["total"] for each in training if each.get("state") == "RUNNING"} == {24}
    estimates = [each["remaining_seconds"] for each in undisturbed.run.transfers]
    assert max(estimates) > 0
    assert estimates[-1] == 0
    measured = {"person_ssim", "person_psnr_db", "flicker_outside", "missed_poses"}
    assert measured <= undisturbed.run.result["metrics"].keys()
    assert undisturbed.run.result["nearest_metrics"].keys() >= {"person_ssim"}


def test_the_driven_dancer_follows_the_truth(undisturbed: Finished, pair: SyntheticPair) -> None:
    store = Artifacts(FileObjectStore(undisturbed.home / "store"), undisturbed.home / "cache")
    key = next(each["key"] for each in undisturbed.run.result["artifacts"] if each["kind"] == "driven_track")
    track = PoseTrack.from_arrays(store.open(ArtifactRef("driven_track", key)).read_arrays("track.safetensors"))
    error = compare_to_truth(track.keypoints, track.valid, pair.truth_json)
    assert np.isfinite(error.mean)
    assert error.mean_placed < 0.08, error
    assert error.within_tenth > 0.6, error


def test_the_same_command_again_does_nothing_again_and_gives_the_same_bytes(
    undisturbed: Finished, pair: SyntheticPair, tmp_path: Path
) -> None:
    before = manifest_times(undisturbed.home)
    output = tmp_path / "again.mp4"
    run = Run(pair.source, pair.target, "-o", output, *OPTIONS, "--home", undisturbed.home)
    assert run.wait() == 0, run.events[-3:]
    assert output.read_bytes() == undisturbed.output.read_bytes()
    assert manifest_times(undisturbed.home) == before


def test_another_source_studies_and_trains_nothing_of_the_target_again(
    undisturbed: Finished, pair: SyntheticPair, tmp_path: Path
) -> None:
    home = shutil.copytree(undisturbed.home, tmp_path / "home")
    before = artifacts(home)
    run = Run(pair.truth, pair.target, "-o", tmp_path / "out.webm", *OPTIONS, "--home", home)
    assert run.wait() == 0, run.events[-3:]
    new = [name.partition("/")[0] for name in artifacts(home).keys() - before.keys()]
    assert sorted(set(new)) == [
        "camera_path", "clip", "driven_track", "frame_shard", "pose_shard", "pose_track", "rendered_shard", "video",
    ]  # fmt: skip
    assert (new.count("clip"), new.count("pose_track"), new.count("camera_path")) == (1, 1, 1)


def test_a_performer_dances_by_name(undisturbed: Finished, pair: SyntheticPair, tmp_path: Path) -> None:
    run = Run(pair.source, "--performer", "target-preview", "-o", tmp_path / "out.mp4", "--home", undisturbed.home)
    assert run.wait() == 0, run.events[-3:]
    assert (tmp_path / "out.mp4").read_bytes() == undisturbed.output.read_bytes()
    unknown = Run(pair.source, "--performer", "nobody", "-o", tmp_path / "out.mp4", "--home", undisturbed.home)
    assert unknown.wait() == Exit.USAGE
    assert "nobody" in unknown.error["message"]


def test_two_identical_transfers_at_once_share_one_set_of_work(pair: SyntheticPair, tmp_path: Path) -> None:
    def last(client: GatewayClient, transfer_id: str) -> Transfer:
        return list(client.watch(transfer_id))[-1]

    async def both(client: GatewayClient) -> list[Transfer]:
        source, target = client.upload(pair.source).id, client.upload(pair.target).id
        request = TransferRequest(
            source=ClipUse(clip_id=source),
            target=ClipUse(clip_id=target),
            options=TransferOptions(preset="preview", iterations=24),
        )
        first, second = client.create_transfer(request), client.create_transfer(request)
        assert first.id != second.id
        return await asyncio.gather(*(asyncio.to_thread(last, client, each.id) for each in (first, second)))

    with Stack(Home.open(tmp_path / "home"), lambda _line: None) as stack:
        client = GatewayClient(stack.url, stack.check)
        ended = asyncio.run(both(client))
        client.close()
    assert [each.state for each in ended] == [State.SUCCEEDED] * 2
    keys = [{(ref.kind, ref.key) for ref in each.artifacts} for each in ended]
    assert keys[0] == keys[1]
    log = (tmp_path / "home" / "logs" / "trainer.log").read_text()
    assert log.count("training begins") == 1


def test_nothing_outlives_the_command(undisturbed: Finished, pair: SyntheticPair, tmp_path: Path) -> None:
    pids: list[int] = []

    def remember(run: Run, _event: object) -> None:
        pids.extend(pid for pid in run.pids if pid not in pids)

    run = Run(
        pair.source, pair.target, "-o", tmp_path / "o.gif", *OPTIONS, "--home", undisturbed.home, on_event=remember
    )
    assert run.wait() == 0
    assert len(pids) >= 7
    assert list(alive(pids)) == []


def test_a_source_without_a_person_is_refused_in_numbers(pair: SyntheticPair, tmp_path: Path) -> None:
    empty = tmp_path / "empty-room.mp4"
    noise = np.random.default_rng(0).integers(90, 110, (240, 320, 3), dtype=np.uint8)
    write_video(iter([noise] * 30), empty, Fraction(25))
    run = Run(empty, pair.target, "-o", tmp_path / "out.mp4", *OPTIONS, "--home", tmp_path / "home")
    assert run.wait() == Exit.UNUSABLE_VIDEO
    assert run.error["reason"] == "NO_PERSON_FOUND"
    assert "30 of 30" in run.error["message"]
    assert not (tmp_path / "out.mp4").exists()
