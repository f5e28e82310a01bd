from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from services.common.artifacts import Artifacts, Recipe
from services.common.errors import DataCorrupted
from services.common.frames import (
    FrameReader,
    ReadCounts,
    decode_image,
    encode_frame,
    encode_matte,
    read_shard,
    write_frames,
    write_mattes,
)
from services.common.shards import FRAMES_NAME, ShardEntry, frame_name, shard_entries, write_encoded
from services.common.store import MemoryObjectStore
from services.common.tar import TarWriter, read_tar

IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=100)
MATTES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def _photo(seed: int, width: int = 96, height: int = 72) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x / (9 + k) + seed + k) * np.cos(y / (7 + k)) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


@IN_ONE_FOLDER
@given(members=st.lists(st.tuples(NAMES, st.binary(max_size=3000)), max_size=6))
def test_tar_round_trip(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        for name, data in members:
            writer.add(name, data)
        writer.close()
    read = list(read_tar(path))
    assert [(member.name, member.data) for member in read] == members
    raw = path.read_bytes()
    assert all(raw[member.offset : member.offset + len(member.data)] == member.data for member in read)
    with tarfile.open(path) as archive:
        assert [info.name for info in archive] == [name for name, _ in members]
        assert all(info.mtime == 0 and info.uid == 0 and info.isreg() for info in archive)


@IN_ONE_FOLDER
@given(data=st.data())
def test_a_damaged_archive_is_never_misread(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.tar"
    frames = [(index, _photo(index, 24, 16)) for index in range(4)]
    write_frames(path, frames)
    whole = list(read_tar(path))
    raw = bytearray(path.read_bytes())
    end = whole[-1].offset + len(whole[-1].data)
    if data.draw(st.booleans(), label="cut"):
        del raw[data.draw(st.integers(0, end - 1)) :]
    else:
        at = data.draw(st.integers(0, end - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw))
    try:
        read = list(read_shard(path))
    except DataCorrupted:
        return
    # What is read keeps its own number: a picture may be lost or (its bytes hit) differ, never change places.
    assert {index for index, _ in read} <= {0, 1, 2, 3}
    assert [index for index, _ in read] == sorted(index for index, _ in read)


@IN_ONE_FOLDER
@given(mattes=st.lists(MATTES, min_size=1, max_size=5), first=st.integers(0, 10**7))
def test_mattes_come_back_exactly(tmp_path: Path, mattes: list[np.ndarray], first: int) -> None:
    path = tmp_path / "mattes.tar"
    assert write_mattes(path, enumerate(mattes, start=first)) == len(mattes)
    read = list(read_shard(path))
    assert [index for index, _ in read] == list(range(first, first + len(mattes)))
    for (_, found), matte in zip(read, mattes, strict=True):
        np.testing.assert_array_equal(found, matte)


def test_frames_come_back_nearly(tmp_path: Path) -> None:
    frames = [(64 + index, _photo(index)) for index in range(5)]
    write_frames(tmp_path / "frames.tar", frames)
    for (index, found), (expected, frame) in zip(read_shard(tmp_path / "frames.tar"), frames, strict=True):
        assert index == expected
        assert found.shape == frame.shape
        assert np.abs(found.astype(int) - frame).mean() < 1.5


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 50), st.integers(1, 50), st.just(3))))
@settings(deadline=None, max_examples=40)
def test_any_frame_keeps_size_and_bytes(image: np.ndarray) -> None:
    data = encode_frame(image)
    assert data == encode_frame(image)
    decoded = decode_image(data, "00000000.jpg")
    assert decoded is not None
    assert decoded.shape == image.shape


def test_chroma_is_not_thinned() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    decoded = decode_image(encode_frame(stripes), "a.jpg")
    assert decoded is not None
    assert np.abs(decoded.astype(int) - stripes).mean() < 6


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_decoding(tmp_path: Path, reduction: int) -> None:
    write_frames(tmp_path / "frames.tar", [(0, _photo(1, 96, 64))])
    _, small = next(iter(read_shard(tmp_path / "frames.tar", reduction)))  # type: ignore[arg-type]
    assert small.shape == (64 // reduction, 96 // reduction, 3)
    assert np.abs(small.mean(axis=(0, 1)) - _photo(1, 96, 64).mean(axis=(0, 1))).max() < 3


def test_a_damaged_picture_is_skipped_and_counted(tmp_path: Path) -> None:
    members = [(frame_name(index), encode_frame(_photo(index))) for index in range(3)]
    members[1] = (frame_name(1), b"not a picture")
    write_encoded(tmp_path / "frames.tar", members)
    counts = ReadCounts()
    assert [index for index, _ in read_shard(tmp_path / "frames.tar", counts=counts)] == [0, 2]
    assert counts == ReadCounts(read=2, damaged=1)


def test_strangers_in_a_shard(tmp_path: Path) -> None:
    write_encoded(tmp_path / "frames.tar", [("../../etc/passwd", b"x")])
    with pytest.raises(DataCorrupted, match="which is no frame"):
        list(read_shard(tmp_path / "frames.tar"))


def test_writing_into_memory_is_the_same(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    mattes = [(0, np.full((5, 4), 9, np.uint8))]
    write_mattes(buffer, mattes)
    write_mattes(tmp_path / "m.tar", mattes)
    assert buffer.getvalue() == (tmp_path / "m.tar").read_bytes()
    assert encode_matte(mattes[0][1])[:4] == b"\x89PNG"


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Artifacts, list[ShardEntry]]:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path / "cache")
    entries = []
    for number, count in enumerate((64, 64, 10)):
        first = 64 * number
        path = tmp_path / f"{number}.tar"
        write_frames(path, [(first + index, np.full((8, 8, 3), first + index, np.uint8)) for index in range(count)])
        writer = artifacts.write(Recipe("frame_shard", "test", 1, options={"number": number}))
        writer.put_file(FRAMES_NAME, path)
        ref = artifacts.commit(writer, {"first_frame": first, "frame_count": count}).ref
        entries.append(ShardEntry(ref, first, count))
    return artifacts, entries


def test_frame_reader(clip: tuple[Artifacts, list[ShardEntry]]) -> None:
    artifacts, entries = clip
    facts = {
        "shards": [
            {"artifact": entry.artifact.to_json(), "first_frame": entry.first_frame, "frame_count": entry.frame_count}
            for entry in entries
        ]
    }
    assert shard_entries(facts) == entries
    reader = FrameReader.of_clip(artifacts, facts)
    assert len(reader) == 138
    assert [(index, int(image.mean())) for index, image in reader] == [(index, index) for index in range(138)]
    assert [index for index, _ in reader.frames(60, 70)] == list(range(60, 70))
    for index in (137, 0, 64, 63):
        assert int(reader.frame(index).mean()) == index
    with pytest.raises(IndexError):
        reader.frame(138)


def test_frame_reader_finds_damage(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path / "cache")
    good = encode_frame(np.zeros((8, 8, 3), np.uint8))
    write_encoded(tmp_path / "a.tar", [(frame_name(0), good), (frame_name(1), b"broken"), (frame_name(3), good)])
    writer = artifacts.write(Recipe("frame_shard", "test", 1))
    writer.put_file(FRAMES_NAME, tmp_path / "a.tar")
    ref = artifacts.commit(writer, {}).ref
    reader = FrameReader(artifacts, [ShardEntry(ref, 0, 4)])
    assert [index for index, _ in reader] == [0, 3]
    assert reader.counts == ReadCounts(read=2, damaged=1)
    for index in (1, 2):
        with pytest.raises(DataCorrupted, match=f"frame {index}"):
            reader.frame(index)
