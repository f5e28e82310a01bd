"""The command line: what it refuses before it starts anything, and how it says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.display import duration
from gateway.cli.exits import Exit, exit_code
from gateway.cli.home import Home
from gateway.cli.transfer import Job, Part, check_job
from services.common import errors
from services.common.errors import Conflict, Forbidden, InvalidOption, ResourceNotFound, UnreadableVideo


def understudy(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("understudy")
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=55,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"not looked into")
    return path


def test_a_missing_file_a_folder_and_an_empty_file_are_named(tmp_path: Path, video: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    out = tmp_path / "out.mp4"
    for path, kind in (
        (tmp_path / "none.mp4", ResourceNotFound),
        (tmp_path, UnreadableVideo),
        (empty, UnreadableVideo),
    ):
        with pytest.raises(kind, match=path.name):
            check_job(Job(Part(str(path)), Part(str(video)), "", out))
        with pytest.raises(kind, match=path.name):
            check_job(Job(Part(str(video)), Part(str(path)), "", out))


def test_needs_a_target_or_a_performer_not_both(tmp_path: Path, video: Path) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(InvalidOption):
        check_job(Job(Part(str(video)), None, "", out))
    with pytest.raises(InvalidOption):
        check_job(Job(Part(str(video)), Part(str(video)), "alice", out))
    check_job(Job(Part(str(video)), None, "alice", out))


def test_finds_out_before_the_work_that_the_output_cannot_be_written(tmp_path: Path, video: Path) -> None:
    part = Part(str(video))
    with pytest.raises(InvalidOption, match=r"\.mp4"):
        check_job(Job(part, part, "", tmp_path / "out.avi"))
    with pytest.raises(InvalidOption, match="no folder"):
        check_job(Job(part, part, "", tmp_path / "none" / "out.mp4"))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InvalidOption, match="folder"):
        check_job(Job(part, part, "", tmp_path / "folder.mp4"))
    with pytest.raises(Forbidden, match="cannot write"):
        check_job(Job(part, part, "", Path("/proc/out.mp4")))
    check_job(Job(part, part, "", tmp_path / "out.mp4"))
    assert {each.name for each in tmp_path.iterdir()} == {"video.mp4", "folder.mp4"}


def test_exit_codes_follow_the_error_tree() -> None:
    assert exit_code(errors.NoPersonFound) is Exit.UNUSABLE_VIDEO
    assert exit_code(errors.UnsafeAddress) is Exit.UNREACHABLE
    assert exit_code(errors.DownloadTimedOut) is Exit.UNREACHABLE
    assert exit_code(errors.InvalidOption) is Exit.USAGE
    assert exit_code(errors.StorageFull) is Exit.NO_ROOM
    assert exit_code(errors.Internal) is Exit.FAILED
    assert exit_code(errors.Cancelled) is Exit.INTERRUPTED


def test_two_commands_cannot_run_services_over_one_home(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    with home.lock():
        with pytest.raises(Conflict, match="--home"):
            home.lock()
        home.announce("http://127.0.0.1:1")
        assert home.running_gateway() == "http://127.0.0.1:1"
    assert home.running_gateway() == ""


def test_durations_read_well() -> None:
    assert [duration(seconds) for seconds in (8.4, 185, 3729)] == ["8 s", "3:05", "1:02:09"]


def test_refusals_are_one_line_with_an_exit_code(tmp_path: Path, video: Path) -> None:
    missing = understudy("transfer", tmp_path / "none.mp4", video, "--home", tmp_path / "home")
    assert missing.returncode == Exit.USAGE
    assert missing.stderr.strip() == f"understudy: no such file: {tmp_path / 'none.mp4'}"
    preset = understudy("transfer", video, video, "--preset", "fastest", "--home", tmp_path / "home")
    assert preset.returncode == Exit.USAGE
    assert "preview, standard, hd" in preset.stderr
    cut_out = understudy(
        "transfer", video, video, "--family", "pix2pixhd", "--background", "transparent", "-o", tmp_path / "out.webm",
        "--home", tmp_path / "home",
    )  # fmt: skip
    assert cut_out.returncode == Exit.USAGE
    assert cut_out.stderr.startswith("understudy: pix2pixhd paints its own background; leave")
    many = understudy("transfer", video, video, "--iterations", "2000000", "--home", tmp_path / "home")
    assert many.returncode == Exit.USAGE
    assert many.stderr.startswith("understudy: iterations: ")
    assert not (tmp_path / "home").exists()


def test_refusals_are_json_for_machines(tmp_path: Path) -> None:
    answer = understudy("transfer", tmp_path, tmp_path, "--json", "--home", tmp_path / "home")
    assert answer.returncode == Exit.UNUSABLE_VIDEO
    assert json.loads(answer.stdout)["reason"] == "UNREADABLE_VIDEO"


def test_resources_are_listed_by_a_gateway_that_ends_with_the_command(tmp_path: Path) -> None:
    answer = understudy("clips", "list", "--json", "--home", tmp_path / "home")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == []
    missing = understudy("transfers", "show", "none", "--home", tmp_path / "home")
    assert missing.returncode == Exit.USAGE
    assert "no transfer 'none'" in missing.stderr


def test_keys_are_made_shown_and_ended(tmp_path: Path) -> None:
    def keys(*arguments: str) -> str:
        done = understudy("keys", *arguments, "--home", tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = json.loads(keys("create", "alice", "--scope", "read", "--transfers", "2", "--json"))
    assert made["key"].startswith(f"us_{made['id']}_")
    rotated = json.loads(keys("rotate", made["id"], "--json"))["key"]
    assert rotated != made["key"]
    listed = keys("list")
    assert "alice" in listed
    assert made["key"].rpartition("_")[2] not in listed
    assert keys("revoke", made["id"]) == f"revoked {made['id']}\n"
    assert json.loads(keys("list", "--json")) == []


def test_housekeeping_says_what_it_would_delete(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    stray = home.store / "uploads" / ("a" * 64)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"bytes")
    dry = understudy("gc", "--dry-run", "--grace-seconds", 0, "--home", tmp_path)
    assert (dry.returncode, dry.stdout) == (0, "would delete 1 uploads (5 bytes)\n"), dry.stderr
    assert understudy("gc", "--home", tmp_path).stdout == "deleted nothing (0 bytes)\n"
    assert json.loads(understudy("gc", "--grace-seconds", 0, "--home", tmp_path, "--json").stdout)["uploads"] == [
        "a" * 64
    ]
    assert not stray.exists()
