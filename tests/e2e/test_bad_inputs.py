"""Every bad input gets its own clear answer and exit code, and leaves nothing behind.

Most cases share one running stack, which the command finds by its --home; those that must be refused before anything
is started have a home of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.exits import Exit
from services.common.synthetic import SyntheticPair
from tests.e2e import bad_files
from tests.e2e.network import PUBLIC_ADDRESS, in_own_network
from tests.e2e.running import Up, half_done
from tests.support.http import web_server
from tests.support.program import Run, alive, stage_of
from tests.support.tmpfs import small_disk
from tests.support.videos import encode, numbered

_QUICK = ("--preset", "preview", "--iterations", 12)


@dataclass(frozen=True)
class Refusal:
    """What a command must answer. says: parts of the message, among them what to do."""

    code: Exit
    reason: str
    says: tuple[str, ...]


def refused(refusal: Refusal, *arguments: object, home: Path, out: Path) -> Run:
    """Runs `understudy transfer` and checks its answer and what is left in the output's folder and in the home."""
    before = sorted(out.parent.iterdir())
    run = Run(*arguments, "-o", out, "--home", home)
    code = run.wait()
    assert run.events, run.stderr
    assert run.events[-1]["event"] == "error", run.events[-3:]
    message = run.error["message"]
    assert (code, run.error["reason"]) == (refusal.code, refusal.reason), message
    for part in refusal.says:
        assert part in message
    assert run.stderr == ""
    assert sorted(out.parent.iterdir()) == before
    assert half_done(home) == []
    return run


def refused_by(up: Up, refusal: Refusal, *arguments: object, out: Path) -> Run:
    """As `refused`, of a command that uses a running stack."""
    pids, uploads = up.pids, sorted(up.home.glob("store/uploads/*"))
    run = refused(refusal, *arguments, home=up.home, out=out)
    assert run.messages == [], "it started services although there are some"
    assert up.settled(pids), "a process is left"
    assert sorted(up.home.glob("store/uploads/*")) == uploads, "the refused video is kept"
    return run


def refused_at_once(refusal: Refusal, *arguments: object, home: Path, out: Path) -> None:
    """As `refused`, before anything is started."""
    run = refused(refusal, *arguments, home=home, out=out)
    assert [event["event"] for event in run.events] == ["error"]
    assert not home.exists()


AT_ONCE: dict[str, tuple[Callable[[Path], list[object]], Refusal]] = {
    "no such file": (
        lambda folder: [folder / "none.mp4"],
        Refusal(Exit.USAGE, "RESOURCE_NOT_FOUND", ("no such file", "none.mp4")),
    ),
    "a folder": (lambda folder: [folder], Refusal(Exit.UNUSABLE_VIDEO, "UNREADABLE_VIDEO", ("is a folder; give",))),
    "an empty file": (
        lambda folder: [bad_files.empty(folder)],
        Refusal(Exit.UNUSABLE_VIDEO, "UNREADABLE_VIDEO", ("nothing.mp4", "0 bytes")),
    ),
    "an unknown preset": (
        lambda folder: [bad_files.text(folder), "--preset", "fastest"],
        Refusal(Exit.USAGE, "INVALID_OPTION", ("fastest", "preview, standard, hd")),
    ),
    "an end before the start": (
        lambda folder: [bad_files.text(folder), "--start", 2, "--end", 1],
        Refusal(Exit.USAGE, "INVALID_OPTION", ("--end 1", "--start 2", "later end")),
    ),
    "an end before the start, of the target": (
        lambda folder: [bad_files.text(folder), "--target-start", 2, "--target-end", 1],
        Refusal(Exit.USAGE, "INVALID_OPTION", ("--target-end 1", "--target-start 2", "later end")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AT_ONCE)
def test_what_can_be_seen_at_once_starts_nothing(case: str, pair: SyntheticPair, tmp_path: Path, out: Path) -> None:
    make, refusal = AT_ONCE[case]
    first, *options = make(tmp_path)
    refused_at_once(refusal, first, pair.target, *options, home=tmp_path / "home", out=out)


FILES: dict[str, tuple[Callable[[Path], Path], Refusal]] = {
    "text": (
        bad_files.text,
        Refusal(Exit.UNUSABLE_VIDEO, "UNREADABLE_VIDEO", ("notes.mp4",)),
    ),
    "cut before its index": (
        bad_files.truncated,
        Refusal(Exit.UNUSABLE_VIDEO, "UNREADABLE_VIDEO", ("cut.mp4",)),
    ),
    "sound alone": (bad_files.audio_only, Refusal(Exit.UNUSABLE_VIDEO, "NO_VIDEO_STREAM", ("song.mp4",))),
    "one frame": (
        bad_files.one_frame,
        Refusal(Exit.UNUSABLE_VIDEO, "VIDEO_TOO_SHORT", ("photo.mp4", "1 frame ", "at least 2")),
    ),
    "nobody in it": (
        bad_files.nobody,
        Refusal(Exit.UNUSABLE_VIDEO, "NO_PERSON_FOUND", ("30 of 30", "must show one person")),
    ),
    "16x16": (bad_files.tiny, Refusal(Exit.UNUSABLE_VIDEO, "FRAME_TOO_SMALL", ("icon.mp4", "16x16", "64 px"))),
    "8K": (
        bad_files.huge,
        Refusal(Exit.UNUSABLE_VIDEO, "FRAME_TOO_LARGE", ("8k.mkv", "7680x4320", "9.4 megapixels", "scale")),
    ),
    "an hour": (
        bad_files.hour,
        Refusal(Exit.UNUSABLE_VIDEO, "VIDEO_TOO_LONG", ("hour.mp4", "3720.0 s", "1800 s", "choose a part")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("role", ["source", "target"])
@pytest.mark.parametrize("case", FILES)
def test_an_unusable_file_is_refused(
    case: str, role: str, up: Up, pair: SyntheticPair, tmp_path: Path, out: Path
) -> None:
    make, refusal = FILES[case]
    bad = make(tmp_path)
    videos = (bad, pair.target) if role == "source" else (pair.source, bad)
    run = refused_by(up, Refusal(refusal.code, refusal.reason, (*refusal.says, role)), *videos, *_QUICK, out=out)
    assert run.error["metadata"]["role"] == role
    assert not stage_of(run.events[-2], "training").get("done"), "trained for nothing"


TRIMS: dict[str, tuple[tuple[object, ...], Refusal]] = {
    "one frame of the source": (
        ("--max-frames", 1),
        Refusal(Exit.UNUSABLE_VIDEO, "VIDEO_TOO_SHORT", ("source.mp4", "1 frame ", "at least 2")),
    ),
    "a start behind the end": (
        ("--start", 60),
        Refusal(Exit.USAGE, "INVALID_OPTION", ("source.mp4", "60 s", "1.92 s")),
    ),
    "too little of the target": (
        ("--target-max-frames", 6),
        Refusal(Exit.UNUSABLE_VIDEO, "CLIP_TOO_SHORT", ("at least", "6 of 6", "longer clip")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TRIMS)
def test_trims_that_leave_too_little_are_refused_in_numbers(case: str, up: Up, pair: SyntheticPair, out: Path) -> None:
    options, refusal = TRIMS[case]
    refused_by(up, refusal, pair.source, pair.target, *options, *_QUICK, out=out)


def test_an_unknown_performer_is_named(up: Up, pair: SyntheticPair, out: Path) -> None:
    refusal = Refusal(Exit.USAGE, "RESOURCE_NOT_FOUND", ("nobody-preview",))
    refused_by(up, refusal, pair.source, "--performer", "nobody-preview", out=out)


def test_a_file_cut_at_its_end_is_salvaged_in_numbers(up: Up, pair: SyntheticPair, tmp_path: Path, out: Path) -> None:
    cut = bad_files.cut_at_its_end(pair.source, tmp_path)
    run = Run(cut, pair.target, *_QUICK, "-o", out, "--home", up.home)
    assert run.wait() == 0, run.events[-3:]
    assert run.messages == [], "it did not use the running stack"
    frames = run.result["outputs"][0]["frame_count"]
    assert 10 < frames < 48
    assert any("cut short" in warning and "of its 48 frames" in warning for warning in run.result["warnings"])
    assert half_done(up.home) == []
    _full_disk_after_the_work(cut, pair, up, tmp_path)


def _full_disk_after_the_work(source: Path, pair: SyntheticPair, up: Up, tmp_path: Path) -> None:
    """The folder takes the first look's few bytes, and not the result."""
    with small_disk(tmp_path / "disk", 1) as disk:
        _fill(disk / "filling", leave_bytes=16 << 10)
        refusal = Refusal(Exit.NO_ROOM, "STORAGE_FULL", ("No space left", "the result is kept", "-o"))
        arguments = (source, pair.target, *_QUICK)
        refused(refusal, *arguments, home=up.home, out=disk / "out.mp4")
        (disk / "filling").unlink()
        again = Run(*arguments, "-o", disk / "out.mp4", "--home", up.home)
        assert again.wait() == 0, again.events[-3:]
        assert sorted(path.name for path in disk.iterdir()) == ["out.mp4"]


def test_a_full_disk_for_the_result_is_seen_at_once(pair: SyntheticPair, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        _fill(disk / "filling", leave_bytes=0)
        refusal = Refusal(Exit.NO_ROOM, "STORAGE_FULL", ("No space left", "give another -o"))
        refused_at_once(refusal, pair.source, pair.target, home=tmp_path / "home", out=disk / "out.mp4")


def _fill(path: Path, leave_bytes: int) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
    except OSError:
        os.truncate(path, path.stat().st_size - leave_bytes)


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """By permission bits, and for root, who is above them, by a read-only mount."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    for options in (["--bind", str(folder)], ["-o", "remount,ro,bind"]):
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"root cannot be kept from writing here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_read_only_folder_for_the_result_is_seen_at_once(pair: SyntheticPair, tmp_path: Path, out: Path) -> None:
    with _read_only(out.parent):
        refusal = Refusal(Exit.NO_ROOM, "FORBIDDEN", (str(out.parent), "give another -o"))
        refused_at_once(refusal, pair.source, pair.target, home=tmp_path / "home", out=out)


ADDRESSES: dict[str, tuple[str, Refusal]] = {
    "404": ("/missing", Refusal(Exit.UNREACHABLE, "DOWNLOAD_FAILED", ("answered 404", "check that the address"))),
    "hangs": ("/hang", Refusal(Exit.UNREACHABLE, "DOWNLOAD_TIMED_OUT", ("silent for 2 s", "try later"))),
    "drips": ("/drip", Refusal(Exit.UNREACHABLE, "DOWNLOAD_TIMED_OUT", ("more than 4 s", "try another"))),
    "no end": ("/endless", Refusal(Exit.UNUSABLE_VIDEO, "FILE_TOO_LARGE", ("no end", "at most 2 MiB"))),
    "a page": ("/page", Refusal(Exit.UNREACHABLE, "DOWNLOAD_FAILED", ("text/html", "the video's own address"))),
    "goes in circles": ("/loop", Refusal(Exit.UNREACHABLE, "DOWNLOAD_FAILED", ("redirects more than 5 times",))),
    "leads to a file": (
        "/redirect/file:///etc/passwd",
        Refusal(Exit.UNREACHABLE, "UNSAFE_ADDRESS", ("not an http or https address",)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ADDRESSES)
def test_an_address_that_gives_no_video_is_refused(
    case: str, lenient: Up, pair: SyntheticPair, tmp_path: Path, out: Path
) -> None:
    path, refusal = ADDRESSES[case]
    with web_server(tmp_path) as server:
        run = refused_by(lenient, refusal, f"{server}{path}", pair.target, *_QUICK, out=out)
    assert f"source {server}{path}: " in run.error["message"]


def test_an_address_inside_the_network_is_refused(up: Up, pair: SyntheticPair, out: Path) -> None:
    shutil.copy(pair.source, out.parent / "video.mp4")
    refusal = Refusal(Exit.UNREACHABLE, "UNSAFE_ADDRESS", ("private network", "upload the file"))
    with web_server(out.parent) as server:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            address = server.replace("127.0.0.1", host) + "/file/video.mp4"
            refused_by(up, refusal, address, pair.target, *_QUICK, out=out)
    refused_by(up, refusal, "http://169.254.169.254/latest/meta-data", pair.target, *_QUICK, out=out)


def test_a_public_address_that_leads_inside_is_refused(pair: SyntheticPair, tmp_path: Path, out: Path) -> None:
    pids: list[int] = []

    def work() -> None:
        with web_server(tmp_path, PUBLIC_ADDRESS) as outside, web_server(tmp_path) as inside:
            refusal = Refusal(Exit.UNREACHABLE, "UNSAFE_ADDRESS", ("127.0.0.1", "private network"))
            address = f"{outside}/redirect/{inside}/file/secret.mp4"
            run = refused(refusal, address, pair.target, *_QUICK, home=tmp_path / "home", out=out)
            assert run.messages == ["starting the services"]
            pids.append(run.process.pid)

    encode(tmp_path / "secret.mp4", numbered(4))
    in_own_network(work)
    assert list(alive(pids)) == []
