from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from services.common import weights
from services.common.errors import DataCorrupted, WeightsMissing


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
