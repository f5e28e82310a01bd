"""Artifacts: written whole or not at all, verified whenever they are read."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from services.common.artifacts import Artifact, ArtifactRef, Artifacts, Recipe
from services.common.errors import ArtifactNotFound, DataCorrupted, ObjectNotFound
from services.common.store import FileObjectStore, MemoryObjectStore

RECIPE = Recipe("pose_shard", "pose", 1, options={"backend": "mediapipe"})
DISTANT = "memory"


@pytest.fixture(params=["file", DISTANT])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    """Over a store on this machine, and over one whose objects must be copied here to be files."""
    store = FileObjectStore(tmp_path / "store") if request.param == "file" else MemoryObjectStore()
    return Artifacts(store, tmp_path / "cache")


def write(artifacts: Artifacts, recipe: Recipe = RECIPE, data: bytes = b"the poses") -> Artifact:
    writer = artifacts.write(recipe)
    writer.put_bytes("poses.bin", data)
    writer.put_json("about.json", {"b": [1, 2.5, None], "a": "ä"})
    return artifacts.commit(writer, {"frame_count": 64, "share": 0.1})


def test_what_is_committed_is_read(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    writer = artifacts.write(RECIPE)
    writer.put_bytes("a.bin", b"bytes")
    writer.put_file("b.bin", tmp_path / "file")
    writer.put_json("c.json", {"x": [1, 2]})
    writer.put_arrays("d.safetensors", {"y": np.arange(6, dtype=np.float32).reshape(2, 3)})
    made = artifacts.commit(writer, {"frame_count": 2})
    for found in (made, artifacts.open(RECIPE.ref)):
        assert found.ref == RECIPE.ref
        assert found.names() == ["a.bin", "b.bin", "c.json", "d.safetensors"]
        assert found.facts == {"frame_count": 2}
        assert found.recipe == RECIPE.to_json()
        assert found.read_bytes("a.bin") == b"bytes"
        assert found.size_bytes("b.bin") == len(b"from a file")
        assert found.local_path("b.bin").read_bytes() == b"from a file"
        assert found.read_json("c.json") == {"x": [1, 2]}
        assert found.read_arrays("d.safetensors")["y"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert artifacts.exists(RECIPE.ref)


def test_nothing_is_seen_before_the_commit(artifacts: Artifacts) -> None:
    writer = artifacts.write(RECIPE)
    writer.put_bytes("poses.bin", b"data")
    assert not artifacts.exists(RECIPE.ref)
    assert artifacts.find(RECIPE.ref) is None
    assert list(artifacts.refs()) == []
    with pytest.raises(ArtifactNotFound) as caught:
        artifacts.open(RECIPE.ref)
    assert caught.value.metadata == {"kind": RECIPE.kind, "key": RECIPE.key}
    artifacts.commit(writer, {})
    assert list(artifacts.refs()) == [RECIPE.ref]


def test_the_manifest_is_stored_last(artifacts: Artifacts) -> None:
    write(artifacts)
    infos = list(artifacts.store.list(RECIPE.ref.prefix))
    manifest = next(info for info in infos if info.key == RECIPE.ref.manifest_key)
    assert len(infos) == 3
    assert all(info.modified_seconds <= manifest.modified_seconds for info in infos)


def test_the_first_of_two_commits_stays(artifacts: Artifacts) -> None:
    first = write(artifacts, data=b"first")
    second = write(artifacts, data=b"second")
    assert first.read_bytes("poses.bin") == second.read_bytes("poses.bin") == b"first"


def test_racing_writers_agree_on_one_whole_artifact(artifacts: Artifacts) -> None:
    writers = 8
    start = threading.Barrier(writers)

    def make(writer: int) -> tuple[bytes, bytes, object]:
        started = artifacts.write(RECIPE)
        start.wait()
        started.put_bytes("one.bin", f"one of {writer}".encode())
        started.put_bytes("two.bin", f"two of {writer}".encode())
        made = artifacts.commit(started, {"writer": writer})
        return made.read_bytes("one.bin"), made.read_bytes("two.bin"), made.facts["writer"]

    with ThreadPoolExecutor(writers) as pool:
        seen = set(pool.map(make, range(writers)))
    assert len(seen) == 1
    one, two, winner = seen.pop()
    assert (one, two) == (f"one of {winner}".encode(), f"two of {winner}".encode())


def test_equal_content_gives_an_equal_manifest(tmp_path: Path) -> None:
    manifests = set()
    for name in ("one", "two"):
        artifacts = Artifacts(FileObjectStore(tmp_path / name), tmp_path / "cache")
        write(artifacts)
        manifests.add(artifacts.store.get(RECIPE.ref.manifest_key))
    assert len(manifests) == 1


def test_a_changed_object_is_noticed(artifacts: Artifacts) -> None:
    made = write(artifacts)
    artifacts.store.put(made.object_key("poses.bin"), b"the p0ses")
    for read in (made.read_bytes, made.local_path, made.read_json, made.read_arrays):
        with pytest.raises(DataCorrupted, match="differs from its checksum") as caught:
            read("poses.bin")
        assert caught.value.metadata == {"kind": RECIPE.kind, "key": RECIPE.key, "object": "poses.bin"}
    assert made.read_json("about.json") == {"b": [1, 2.5, None], "a": "ä"}


def test_a_deleted_object_is_noticed(artifacts: Artifacts) -> None:
    made = write(artifacts)
    artifacts.store.delete(made.object_key("poses.bin"))
    for read in (made.read_bytes, made.local_path):
        with pytest.raises(DataCorrupted, match="is gone"):
            read("poses.bin")


def test_a_damaged_local_copy_is_fetched_again(tmp_path: Path) -> None:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path / "cache")
    made = write(artifacts)
    copy = made.local_path("poses.bin")
    copy.write_bytes(b"half")
    assert made.local_path("poses.bin").read_bytes() == b"the poses"
    copy.unlink()
    assert made.local_path("poses.bin").read_bytes() == b"the poses"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [copy.name]


def test_arrays_that_are_no_safetensors_are_damaged(artifacts: Artifacts) -> None:
    with pytest.raises(DataCorrupted, match="cannot be read"):
        write(artifacts, data=b"these are the right bytes, of no arrays").read_arrays("poses.bin")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"null", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "objects": []}', b"\xff\xfe"],
)
def test_a_manifest_that_cannot_be_read_is_noticed(artifacts: Artifacts, damage: bytes) -> None:
    write(artifacts)
    artifacts.store.put(RECIPE.ref.manifest_key, damage)
    with pytest.raises(DataCorrupted) as caught:
        artifacts.open(RECIPE.ref)
    assert caught.value.metadata["object"] == "manifest.json"


@settings(max_examples=100)
@given(st.data())
def test_any_flipped_bit_of_a_manifest_is_noticed(data: st.DataObject) -> None:
    artifacts = Artifacts(MemoryObjectStore(), Path("nowhere"))
    facts = write(artifacts).facts
    manifest = bytearray(artifacts.store.get(RECIPE.ref.manifest_key))
    manifest[data.draw(st.integers(0, len(manifest) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    artifacts.store.put(RECIPE.ref.manifest_key, bytes(manifest))
    try:
        found = artifacts.open(RECIPE.ref)
    except DataCorrupted:
        return
    assert found.facts == facts  # a flip may still spell the same JSON: \\u00E4 for \\u00e4


def test_a_manifest_of_another_artifact_is_noticed(artifacts: Artifacts) -> None:
    other = Recipe("pose_shard", "pose", 2)
    write(artifacts)
    write(artifacts, other)
    artifacts.store.put(RECIPE.ref.manifest_key, artifacts.store.get(other.ref.manifest_key))
    with pytest.raises(DataCorrupted, match="belongs to another"):
        artifacts.open(RECIPE.ref)


def test_facts_may_have_numbers_as_keys(artifacts: Artifacts) -> None:
    artifacts.commit(artifacts.write(RECIPE), {"by_frame": {9: 1, 10: 2}})
    assert artifacts.open(RECIPE.ref).facts == {"by_frame": {"9": 1, "10": 2}}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_facts_that_are_no_json_are_refused(artifacts: Artifacts, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        artifacts.commit(artifacts.write(RECIPE), {"share": value})
    assert not artifacts.exists(RECIPE.ref)


def test_an_unknown_object_is_named_with_the_known_ones(artifacts: Artifacts) -> None:
    with pytest.raises(ArtifactNotFound, match=r"has no 'other', only about\.json, poses\.bin"):
        write(artifacts).read_bytes("other")


def test_a_deleted_artifact_can_be_made_anew(artifacts: Artifacts) -> None:
    write(artifacts, data=b"first")
    kept = write(artifacts, Recipe("pose_shard", "pose", 2))
    artifacts.delete(RECIPE.ref)
    artifacts.delete(RECIPE.ref)
    assert not artifacts.exists(RECIPE.ref)
    assert list(artifacts.store.list(RECIPE.ref.prefix)) == []
    assert kept.read_bytes("poses.bin") == b"the poses"
    assert write(artifacts, data=b"second").read_bytes("poses.bin") == b"second"


def test_refs_by_kind(artifacts: Artifacts) -> None:
    recipes = [Recipe(kind, "stage", version) for kind in ("pose", "pose_shard", "plate") for version in (1, 2)]
    for recipe in recipes:
        write(artifacts, recipe)
    assert set(artifacts.refs()) == {recipe.ref for recipe in recipes}
    assert set(artifacts.refs("pose")) == {recipe.ref for recipe in recipes if recipe.kind == "pose"}
    assert list(artifacts.refs("clip")) == []


def test_scratch_is_kept_by_name_until_it_is_cleared(artifacts: Artifacts) -> None:
    scratch, other = artifacts.scratch(RECIPE.key), artifacts.scratch("f" * 64)
    assert scratch.list() == []
    scratch.put("checkpoint", b"at 100")
    scratch.put("checkpoint", b"at 200")
    scratch.put("samples/200.jpg", b"picture")
    other.put("checkpoint", b"another's")
    assert artifacts.scratch(RECIPE.key).get("checkpoint") == b"at 200"
    assert scratch.list() == ["checkpoint", "samples/200.jpg"]
    assert artifacts.store.get(scratch.object_key("samples/200.jpg")) == b"picture"
    scratch.delete("samples/200.jpg")
    assert scratch.list() == ["checkpoint"]
    scratch.clear()
    assert scratch.list() == []
    with pytest.raises(ObjectNotFound):
        scratch.get("checkpoint")
    assert other.get("checkpoint") == b"another's"
    assert list(artifacts.refs()) == []


DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "N"], include_characters="_. "), min_size=1, max_size=8),
        DTYPES.flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, min_side=0))),
        max_size=4,
    )
)
def test_arrays_come_back_as_they_were(arrays: dict[str, NDArray[np.generic]]) -> None:
    artifacts = Artifacts(MemoryObjectStore(), Path("nowhere"))
    writer = artifacts.write(RECIPE)
    writer.put_arrays("arrays", arrays)
    writer.put_arrays("reversed", dict(reversed(arrays.items())))
    found = artifacts.commit(writer, {})
    assert found.sha256("arrays") == found.sha256("reversed")
    back = found.read_arrays("arrays")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_arrays_that_are_views_are_stored_as_they_look(artifacts: Artifacts) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {"turned": array.T, "every_second": array[::2, ::-1], "one": array[1:2]}
    writer = artifacts.write(RECIPE)
    writer.put_arrays("views", views)
    back = artifacts.commit(writer, {}).read_arrays("views")
    for name, view in views.items():
        np.testing.assert_array_equal(back[name], view)


def test_a_reference_is_json(artifacts: Artifacts) -> None:
    ref = write(artifacts).ref
    assert ArtifactRef(**json.loads(json.dumps(ref.to_json()))) == ref
