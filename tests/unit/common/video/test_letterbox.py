from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.common.video import Crop, probe, read_frames
from services.common.video.letterbox import find_crop
from tests.support.videos import encode, number_of, numbered


def _inside(left: int, top: int, right: int, bottom: int, count: int = 6) -> list[npt.NDArray[np.uint8]]:
    return [np.pad(frame, ((top, bottom), (left, right), (0, 0))) for frame in numbered(count)]


def test_bars_are_cropped_and_remembered(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", _inside(40, 0, 40, 0))
    facts = probe(path)
    assert facts.geometry.crop == Crop(40, 0, 96, 64)
    assert (facts.width, facts.height) == (96, 64)
    assert [number_of(frame) for _, frame in read_frames(path, facts)] == list(range(6))
    assert probe(path, crop_bars=False).width == 176


def test_letterbox() -> None:
    assert find_crop(_inside(0, 20, 0, 20)) == Crop(0, 20, 96, 64)


def test_one_sided_darkness_is_no_bar() -> None:
    assert find_crop(_inside(40, 0, 0, 0)) is None


def test_a_dark_room_is_not_cropped() -> None:
    y, x = np.mgrid[0:96, 0:128]
    glow = 60 * np.exp(-((x - 64) ** 2 + (y - 48) ** 2) / 900)
    frame = np.repeat(glow[..., None], 3, axis=2).astype(np.uint8)
    assert find_crop([frame] * 4) is None


def test_bars_must_stay_black() -> None:
    frames = _inside(30, 0, 30, 0)
    frames[4][20:30, 5:12] = 200
    assert find_crop(frames) is None


def test_nothing_but_black() -> None:
    assert find_crop([np.zeros((96, 128, 3), np.uint8)] * 3) is None
