from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from services.common.video import FrameStream, probe, read_frames
from services.common.video.colour import RgbConverter
from tests.support.videos import encode, number_of, numbered


def _numbers(path: Path, **trims: float) -> list[int]:
    facts = probe(path, **trims)  # type: ignore[arg-type]
    return [number_of(frame) for _, frame in read_frames(path, facts)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.avi", "a.webm"])
def test_every_frame_once_and_in_order(tmp_path: Path, name: str) -> None:
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx-vp9"}.get(name, "libx264")
    assert _numbers(encode(tmp_path / name, numbered(70), codec=codec)) == list(range(70))


@pytest.mark.parametrize(
    ("trims", "expected"),
    [
        ({"start_seconds": 1.0}, range(25, 200)),
        ({"start_seconds": 6.0}, range(150, 200)),
        ({"end_seconds": 2.0}, range(50)),
        ({"start_seconds": 5.52, "end_seconds": 6.0}, range(138, 150)),
        ({"start_seconds": 7.0, "max_frames": 3}, range(175, 178)),
        ({"max_frames": 2}, range(2)),
    ],
)
def test_trims(tmp_path: Path, trims: dict[str, float], expected: range) -> None:
    path = encode(tmp_path / "a.mp4", numbered(200), options={"g": "40"})
    assert _numbers(path, **trims) == list(expected)


def test_variable_rate_keeps_the_time(tmp_path: Path) -> None:
    places = [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22, 23, 24]
    path = encode(
        tmp_path / "a.mkv", numbered(len(places)), ticks=[place * 40 for place in places], time_base=Fraction(1, 1000)
    )
    facts = probe(path)
    stream = FrameStream(path, facts)
    shown = [number_of(RgbConverter(facts.geometry)(frame.picture)) for frame in stream]
    assert shown == [max(i for i, place in enumerate(places) if place <= slot) for slot in range(25)]
    assert (stream.repeated_frames, stream.decoded_frames) == (5, 20)
    assert any("frame rate varies" in warning for warning in facts.warnings)


def test_damage_in_the_middle_is_skipped_and_time_kept(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", numbered(60), options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for at in rng.integers(len(data) // 2, 2 * len(data) // 3, 20):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    facts = probe(path)
    stream = FrameStream(path, facts)
    shown = [number_of(RgbConverter(facts.geometry)(frame.picture)) for frame in stream]
    assert len(shown) == 60
    assert stream.damaged_frames + stream.repeated_frames > 0
    assert shown[:20] == list(range(20))
    assert shown[-10:] == list(range(60 - 10, 60))
    assert shown == [number_of(RgbConverter(facts.geometry)(frame.picture)) for frame in stream]


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", numbered(100), options={"g": "10"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    shown = _numbers(path)
    assert 40 < len(shown) < 90
    # The last pictures may lack the one that they are built on; their places are filled.
    assert shown[:40] == list(range(40))
    assert all(0 <= index - number <= 3 for index, number in enumerate(shown))


@pytest.mark.parametrize(("rotation", "clockwise"), [(0, 0), (90, 270), (180, 180), (270, 90)])
def test_rotation_flags_are_undone(tmp_path: Path, rotation: int, clockwise: int) -> None:
    upright = numbered(3, 128, 96)
    stored = [np.ascontiguousarray(np.rot90(frame, -rotation // 90)) for frame in upright]
    path = encode(tmp_path / "a.mp4", stored, rotation=rotation)
    facts = probe(path)
    assert (facts.width, facts.height) == (128, 96)
    assert facts.geometry.orientation.rotation_degrees == clockwise
    assert [number_of(frame) for _, frame in read_frames(path, facts)] == [0, 1, 2]


def test_odd_sizes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", numbered(5, 97, 71), codec="ffv1", pixel_format="yuv444p")
    shapes = {frame.shape for _, frame in read_frames(path, probe(path))}
    assert shapes == {(71, 97, 3)}


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "gray", "bgr0"]
)
def test_pixel_formats(tmp_path: Path, pixel_format: str) -> None:
    path = encode(tmp_path / "a.mkv", numbered(4), codec="ffv1", pixel_format=pixel_format)
    facts = probe(path)
    frames = [frame for _, frame in read_frames(path, facts)]
    assert [number_of(frame) for frame in frames] == [0, 1, 2, 3]
    reference = numbered(4)[3]
    assert np.abs(frames[3].mean() - reference.mean()) < 2


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("full_range", [1, 2])
def test_colours_come_back(tmp_path: Path, matrix: int, full_range: int) -> None:
    y, x = np.mgrid[0:120, 0:160]
    image = np.stack([x * 255 / 159, y * 255 / 119, (x + y) * 255 / 278], axis=2).astype(np.uint8)
    path = encode(
        tmp_path / "a.mkv", [image] * 3, codec="ffv1", pixel_format="yuv444p",
        colour={"colorspace": matrix, "color_range": full_range},
    )  # fmt: skip
    _, frame = next(read_frames(path, probe(path)))
    difference = np.abs(frame.astype(int) - image)
    assert difference.mean() < 1.2
    assert difference.max() <= 4


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_becomes_viewable(tmp_path: Path, transfer: int) -> None:
    ramp = np.repeat(np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None], 72, axis=0).repeat(3, axis=2)
    path = encode(
        tmp_path / "a.mkv", [ramp] * 3, codec="ffv1", pixel_format="yuv420p10le",
        colour={"colorspace": 9, "color_range": 1, "color_trc": transfer, "color_primaries": 9},
    )  # fmt: skip
    _, frame = next(read_frames(path, probe(path, crop_bars=False)))
    row = frame[36].astype(int)
    assert (np.diff(row.mean(axis=1)) >= -1).all()
    assert row[-4:].mean() > 235
    assert 60 < row[64].mean() < 235
    assert np.ptp(row, axis=1).max() <= 6
