"""The comparison of trainings ends and gives figures and a picture. What they are is for a quiet machine to say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import pytest

from services.common.synthetic import write_synthetic_pair
from tests.bench import train
from tests.bench.variants import variant, variants


def test_two_families_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_WARM_ITERATIONS", 1)
    monkeypatch.setattr(train, "_TIMED_POINTS", 2)
    pair = write_synthetic_pair(
        tmp_path, source_frames=8, target_frames=32, source_size=(128, 128), target_size=(192, 192)
    )
    found, picture = tmp_path / "found.json", tmp_path / "found.jpg"
    train.main(["--clip", str(pair.target), "--minutes", "0.01", "--json", str(found), "--picture", str(picture)])
    rows = json.loads(found.read_text())["rows"]
    assert [row["name"] for row in rows] == ["composite", "pix2pixhd"]
    for row in rows:
        assert row["iterations"] >= 2
        assert row["images_per_second"] > 0
        assert row["frames_per_second"] > 0
        assert math.isfinite(row["metrics"]["generated"]["person_ssim"])
    told = capsys.readouterr().out
    assert "\nnearest |" in told
    assert "\ndraft |" in told
    assert "pix2pixhd | 0" in told
    assert cv2.imread(str(picture)) is not None


def test_every_row_has_a_run_of_its_own_and_others_are_refused() -> None:
    runs = [json.dumps(variant(name, 3, 0).to_json(), sort_keys=True) for name in variants()]
    assert len(set(runs)) == len(runs)
    with pytest.raises(ValueError, match="no row 'diffusion'"):
        variant("diffusion", 3, 0)
