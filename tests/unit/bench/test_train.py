"""The speed bench ends and gives figures and a picture. What they are is for a quiet machine to say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.common.errors import InvalidOption
from services.common.synthetic import write_synthetic_pair
from tests.bench import train


def test_a_row_of_each_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = write_synthetic_pair(
        tmp_path, source_frames=8, target_frames=32, source_size=(128, 128), target_size=(192, 192)
    )
    found, picture = tmp_path / "found.json", tmp_path / "found.svg"
    train.main(["--clip", str(pair.target), "--runs", "1", "--families", "composite",
                "--json", str(found), "--picture", str(picture)])  # fmt: skip
    (row,) = json.loads(found.read_text())["rows"]
    assert row["family"] == "composite"
    assert row["images_per_second"][0] > 0
    assert row["frames_per_second"][0] > 0
    assert row["memory_mib"] > 100
    assert "composite, preview | " in capsys.readouterr().out
    assert "composite, preview" in picture.read_text()


def test_what_there_is_not_is_refused_before_the_work() -> None:
    with pytest.raises(InvalidOption, match="preset 'huge'"):
        train.main(["--presets", "huge"])
