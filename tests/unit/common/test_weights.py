from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from services.common import weights
from services.common.errors import DataCorrupted, WeightsMissing
from services.common.store import MemoryObjectStore


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks that set-up left, laid out again as in the package that they came from."""
    folder = tmp_path_factory.mktemp("package")
    for weight in weights.WEIGHTS.values():
        path = folder / weight.member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((weights.default_weights_dir() / weight.name).read_bytes())
    return folder


def test_everything_is_prepared_once(package: Path, tmp_path: Path) -> None:
    written = weights.prepare(package, tmp_path / "weights")
    assert sorted(written) == sorted(weights.WEIGHTS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()}
    assert set(before) == {*written, weights.MANIFEST}
    assert weights.prepare(package, tmp_path / "weights") == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()} == before


def test_a_wheel_serves_as_well_as_a_folder(package: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for weight in weights.WEIGHTS.values():
            archive.write(package / weight.member, weight.member)
    assert weights.main(["prepare", str(wheel), str(tmp_path / "weights")]) == 0
    assert weights.verified_weight_path(tmp_path / "weights", "pose_detection.tflite").is_file()


def test_damage_is_found_and_mended(package: Path, tmp_path: Path) -> None:
    weights.prepare(package, tmp_path)
    (tmp_path / "face_landmark.tflite").write_bytes(b"half")
    with pytest.raises(DataCorrupted, match="make setup"):
        weights.verified_weight_path(tmp_path, "face_landmark.tflite")
    assert weights.prepare(package, tmp_path) == ["face_landmark.tflite"]


def test_a_wrong_package_is_refused(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights.main(["prepare", str(tmp_path), str(tmp_path / "weights")]) == 1
    assert "pose_detection.tflite of mediapipe==0.10.21 is not in" in capsys.readouterr().err
    first = next(iter(weights.WEIGHTS.values()))
    forged = tmp_path / "forged" / first.member
    forged.parent.mkdir(parents=True)
    forged.write_bytes((package / first.member).read_bytes() + b"x")
    with pytest.raises(DataCorrupted, match=first.sha256):
        weights.prepare(tmp_path / "forged", tmp_path / "weights")
    assert not (tmp_path / "weights" / first.name).exists()


def test_missing_weights_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"make setup.*UNDERSTUDY_WEIGHTS_DIR"):
        weights.weight_path(tmp_path, "pose_detection.tflite")
    with pytest.raises(KeyError, match="nonesuch"):
        weights.weight_path(tmp_path, "nonesuch")


def test_the_digest_names_exactly_these_networks() -> None:
    pair = ["pose_detection.tflite", "hand_recrop.tflite"]
    assert weights.weights_digest(pair) == weights.weights_digest(reversed(pair))
    assert weights.weights_digest(pair) != weights.weights_digest(pair[:1])


def test_the_manifest_states_source_and_licence() -> None:
    manifest = json.loads((weights.default_weights_dir() / weights.MANIFEST).read_text())
    assert set(manifest["networks"]) == set(weights.WEIGHTS)
    assert {network["licence"] for network in manifest["networks"].values()} == {"Apache-2.0"}


def test_the_store_carries_them_to_another_machine(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    with pytest.raises(WeightsMissing, match="publish"):
        weights.fetch(store, tmp_path)
    assert sorted(weights.publish(weights.default_weights_dir(), store)) == sorted(weights.WEIGHTS)
    assert weights.publish(weights.default_weights_dir(), store) == []
    assert sorted(weights.fetch(store, tmp_path)) == sorted(weights.WEIGHTS)
    assert weights.fetch(store, tmp_path) == []
    for name in weights.WEIGHTS:
        assert weights.verified_weight_path(tmp_path, name).is_file()
    assert (tmp_path / weights.MANIFEST).is_file()


def test_a_network_that_is_damaged_in_the_store_reaches_no_machine(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    weights.publish(weights.default_weights_dir(), store)
    last = list(weights.WEIGHTS.values())[-1]
    store.put(last.object_key, b"half")
    with pytest.raises(DataCorrupted, match=last.name):
        weights.fetch(store, tmp_path)
    assert not (tmp_path / last.name).exists()
    assert not (tmp_path / weights.MANIFEST).exists()
    assert weights.publish(weights.default_weights_dir(), store) == [last.name]
    assert last.name in weights.fetch(store, tmp_path)


def test_the_commands_publish_and_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNDERSTUDY_STORE_URL", (tmp_path / "store").as_uri())
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS_DIR", str(tmp_path / "weights"))
    assert weights.main(["fetch", "--patience-seconds", "0"]) == 1
    assert "is not in the store" in capsys.readouterr().err
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS_DIR", str(weights.default_weights_dir()))
    assert weights.main(["publish"]) == 0
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS_DIR", str(tmp_path / "weights"))
    assert weights.main(["fetch"]) == 0
    assert f"{len(weights.WEIGHTS)} networks written to {tmp_path / 'weights'}" in capsys.readouterr().out
