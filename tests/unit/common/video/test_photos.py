"""Photographs are clips of one frame, where one is enough."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from services.common.errors import VideoTooShort
from services.common.video import VideoLimits, probe, read_frames
from tests.support.photos import write_photo

PICTURE = np.zeros((120, 200, 3), np.uint8)
PICTURE[:20], PICTURE[20:, :20], PICTURE[60:, 100:] = (255, 0, 0), (0, 255, 0), (90, 90, 200)


@pytest.mark.parametrize("orientation", [0, 1, 3, 6, 8])
@pytest.mark.parametrize("name", ["a.jpg", "no-suffix"])
def test_a_phone_held_in_any_way(tmp_path: Path, name: str, orientation: int) -> None:
    path = write_photo(tmp_path / "a.jpg", PICTURE, orientation).rename(tmp_path / name)
    facts = probe(path, VideoLimits(min_frames=1), crop_bars=False)
    ((_, found),) = read_frames(path, facts)
    upright = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)  # which reads EXIF itself
    assert upright is not None
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 0.5


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_other_formats(tmp_path: Path, name: str) -> None:
    path = write_photo(tmp_path / name, PICTURE)
    ((_, found),) = read_frames(path, probe(path, VideoLimits(min_frames=1), crop_bars=False))
    assert np.abs(found.astype(int) - PICTURE).mean() < 4


def test_elsewhere_one_frame_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(VideoTooShort, match="has 1 frame and at least 2 are needed; a photograph is enough only"):
        probe(write_photo(tmp_path / "a.jpg", PICTURE))
