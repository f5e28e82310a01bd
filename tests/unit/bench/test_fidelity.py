"""The comparison of performers ends, keeps what it has done, and gives figures and a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import pytest

from services.common.synthetic import write_synthetic_pair
from tests.bench import fidelity, rows
from tests.bench.variants import variant, variants


def test_two_families_side_by_side_and_what_is_done_stays_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_WARM_ITERATIONS", 1)
    monkeypatch.setattr(rows, "_TIMED_POINTS", 2)
    pair = write_synthetic_pair(
        tmp_path, source_frames=8, target_frames=32, source_size=(128, 128), target_size=(192, 192)
    )
    found, picture = tmp_path / "found.json", tmp_path / "found.jpg"
    arguments = ["--clip", str(pair.target), "--minutes", "0.01", "--seeds", "1", "--json", str(found)]
    fidelity.main([*arguments, "--rows", "composite", "--picture", str(picture)])
    first = json.loads(found.read_text())["trainings"]
    assert cv2.imread(str(picture.with_stem(f"found-{pair.target.stem}"))) is not None
    fidelity.main([*arguments, "--rows", "composite,pix2pixhd@0.02"])
    trainings = json.loads(found.read_text())["trainings"]
    assert trainings[0] == first[0]
    assert [(each["row"]["name"], each["minutes"]) for each in trainings] == [("composite", 0.01), ("pix2pixhd", 0.02)]
    for each in trainings:
        assert each["row"]["iterations"] >= 2
        assert each["row"]["images_per_second"] > 0
        assert each["row"]["frames_per_second"] > 0
        assert math.isfinite(each["row"]["metrics"]["generated"]["person_ssim"])
    told = capsys.readouterr().out
    assert "\nnearest |" in told
    assert "\ndraft |" in told
    assert "pix2pixhd, 0.02 min |" in told


def test_every_row_has_a_run_of_its_own_and_others_are_refused() -> None:
    runs = [json.dumps(variant(name, 3, 0).to_json(), sort_keys=True) for name in variants()]
    assert len(set(runs)) == len(runs)
    for wrong in ("diffusion", "composite@0", "composite@soon"):
        with pytest.raises(ValueError, match=r"diffusion|0 minutes|soon"):
            fidelity.Wanted.parse(wrong, 2.5)
