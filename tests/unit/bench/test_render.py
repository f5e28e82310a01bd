"""The rendering bench ends, and what is rendered apart is what is rendered in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.common.synthetic import write_synthetic_pair
from tests.bench import render


def test_a_dance_looped_and_its_seams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_SHORT_SECONDS", 3.0)
    pair = write_synthetic_pair(
        tmp_path, source_frames=8, target_frames=70, source_size=(128, 128), target_size=(192, 192)
    )
    found, picture = tmp_path / "found.json", tmp_path / "found.svg"
    render.main(["--clip", str(pair.target), "--families", "draft", "--long-minutes", "0.1", "--every", "2",
                 "--json", str(found), "--picture", str(picture)])  # fmt: skip
    (row,) = json.loads(found.read_text())["rows"]
    assert row["seam_db"] == 0.0
    assert row["long"]["dance_frames"] == 144
    assert row["long"]["rendered_frames"] > 0
    assert row["long"]["memory_mib"] > 50
    assert "draft | draft |" in capsys.readouterr().out
    assert "MiB for 144 frames" in picture.read_text()
