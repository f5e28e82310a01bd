"""What is killed, cut, filled or damaged costs time, never results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.exits import Exit
from services.common.synthetic import SyntheticPair
from tests.integration.conftest import OPTIONS, Finished
from tests.support.program import SERVICES, Event, Run, alive, artifacts, stage_of

# Which process dies while which stage is at work.
_VICTIMS = {
    ("download", "source"): "downloader",
    ("pose", "target"): "pose",
    ("camera", "target"): "segmentation",
    ("segmentation", "target"): "gateway",
    ("training", "target"): "trainer",
    ("normalization", "result"): "normalization",
    ("rendering", "result"): "renderer",
}


def test_killing_each_process_in_turn_changes_nothing(
    undisturbed: Finished, pair: SyntheticPair, tmp_path: Path
) -> None:
    killed: list[str] = []

    def strike(run: Run, event: Event) -> None:
        for (stage, role), victim in _VICTIMS.items():
            state = stage_of(event, stage, role).get("state")
            if victim not in killed and state in {"RUNNING", "SUCCEEDED"}:
                killed.append(victim)
                run.kill_service(victim)

    home, output = tmp_path / "home", tmp_path / "out.mp4"
    run = Run(pair.source, pair.target, "-o", output, *OPTIONS, "--home", home, on_event=strike)
    assert run.wait() == 0, (killed, run.events[-3:])
    assert sorted(killed) == sorted((*SERVICES, "gateway"))
    for victim in killed:
        assert f"{victim} was killed by signal 9; started again, finished work is kept" in run.messages
    expected, found = undisturbed.made, artifacts(home)
    assert found.keys() == expected.keys()
    # training alone may differ in its last bits, and with it what comes of it
    trained_from = {"performer", "rendered_shard", "video", "result_poses", "evaluation"}
    for name in expected:
        if name.partition("/")[0] not in trained_from:
            assert found[name] == expected[name], name


def test_an_interrupted_training_goes_on_from_its_checkpoint(
    undisturbed: Finished, pair: SyntheticPair, tmp_path: Path
) -> None:
    home = shutil.copytree(undisturbed.home, tmp_path / "home")  # studied, and never trained for so long
    arguments = (pair.source, pair.target, "-o", tmp_path / "out.mp4", "--iterations", 60, "--home", home)

    def interrupt(run: Run, event: Event) -> None:
        if 20 <= stage_of(event, "training").get("done", 0) < 60:
            run.interrupt()  # again and again, as impatient users do

    first = Run(*arguments, on_event=interrupt)
    assert first.wait() == Exit.INTERRUPTED
    assert first.error["reason"] == "CANCELLED"
    assert "the same command goes on" in first.error["message"]
    reached = max(stage_of(event, "training").get("done", 0) for event in first.events)
    assert reached < 60
    assert not (tmp_path / "out.mp4").exists()
    second = Run(*arguments)
    assert second.wait() == 0, second.events[-3:]
    seen = [stage_of(event, "training") for event in second.events]
    counts = [each["done"] for each in seen if each.get("state") == "RUNNING" and each["done"]]
    assert min(counts) >= 20, "training began anew"


def test_a_client_that_is_killed_leaves_no_process_and_loses_no_work(pair: SyntheticPair, tmp_path: Path) -> None:
    home = tmp_path / "home"
    arguments = (pair.source, pair.target, "-o", tmp_path / "out.mp4", *OPTIONS, "--home", home)
    pids: list[int] = []

    def kill(run: Run, event: Event) -> None:
        if stage_of(event, "segmentation").get("state") == "RUNNING" and not pids:
            pids.extend(run.pids)
            run.process.kill()

    first = Run(*arguments, on_event=kill)
    assert first.wait() == -9
    deadline = time.monotonic() + 40
    while list(alive(pids)):
        assert time.monotonic() < deadline, "services outlived the command"
        time.sleep(0.1)
    before = artifacts(home)
    assert any(name.startswith("pose_track/") for name in before)
    second = Run(*arguments)
    assert second.wait() == 0, second.events[-3:]
    after = artifacts(home)
    assert all(after[name] == objects for name, objects in before.items())


def test_a_damaged_object_is_found_and_made_anew(undisturbed: Finished, pair: SyntheticPair, tmp_path: Path) -> None:
    home = shutil.copytree(undisturbed.home, tmp_path / "home")
    folder = home / "store" / "artifacts"
    for kind in ("matte_shard", "frame_shard"):
        manifest = sorted((folder / kind).glob("*/manifest.json"))[0]
        digest = next(iter(json.loads(manifest.read_bytes())["objects"].values()))["sha256"]
        damaged = manifest.with_name(digest)
        data = damaged.read_bytes()
        damaged.write_bytes(data[:5000] + bytes(255 - byte for byte in data[5000:5100]) + data[5100:])
    needing = ("plate", "performer", "heldout", "rendered_shard", "result_poses", "evaluation", "video")
    for kind in needing:  # so that the damaged ones are needed again
        shutil.rmtree(folder / kind)
    run = Run(pair.source, pair.target, "-o", tmp_path / "out.mp4", *OPTIONS, "--home", home)
    assert run.wait() == 0, run.events[-3:]
    assert any("was damaged and was made anew" in warning for warning in run.result["warnings"])
    assert artifacts(home).keys() == undisturbed.made.keys()
    for kind in ("matte_shard", "frame_shard", "plate"):
        for name, objects in undisturbed.made.items():
            if name.startswith(f"{kind}/"):
                assert artifacts(home)[name] == objects


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        message = f"cannot mount a small disk here: {mounted.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_plainly_and_freeing_it_is_enough(
    undisturbed: Finished, pair: SyntheticPair, small_disk: Path, tmp_path: Path
) -> None:
    arguments = (pair.source, pair.target, "-o", tmp_path / "out.mp4", *OPTIONS, "--home", small_disk / "home")
    run = Run(*arguments)
    assert run.wait() == Exit.NO_ROOM, run.events[-3:]
    assert run.error["reason"] == "STORAGE_FULL"
    assert "free some" in run.error["message"]
    assert not (tmp_path / "out.mp4").exists()
    subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
    again = Run(*arguments)
    assert again.wait() == 0, again.events[-3:]
    assert artifacts(small_disk / "home").keys() == undisturbed.made.keys()
