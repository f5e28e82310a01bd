from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from services.common import frames
from services.common.video import probe, read_frames
from services.downloader.jpeg import encode_frame, encode_thumbnail

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media" / "videos"
SIDES = st.integers(1, 70)


def _noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


def _wavy(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth in all channels, as pictures are."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 127 * np.sin(x / (19 + k)) * np.cos(y / (13 + 3 * k)) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


@given(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES, st.just(3))))
@settings(deadline=None, max_examples=100)
def test_frames_are_those_of_opencv(image: NDArray[np.uint8]) -> None:
    assert encode_frame(image) == frames.encode_frame(image)


@pytest.mark.parametrize("size", [(1, 1), (1, 333), (255, 1), (271, 479), (719, 1281), (1080, 1920)])
def test_large_and_odd_frames_are_those_of_opencv(size: tuple[int, int]) -> None:
    for image in (_noise(*size), _wavy(*size)):
        assert encode_frame(image) == frames.encode_frame(image)


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the media folder is not there")
@pytest.mark.parametrize("name", ["felixchenfy_exercise.avi", "tfjs_squats_5fps.mp4", "poseformerv2_skate.mp4"])
def test_real_frames_are_those_of_opencv(name: str) -> None:
    path = MEDIA / name
    for _, frame in islice(read_frames(path, probe(path)), 0, 40, 13):
        for image in (frame, np.ascontiguousarray(frame[:-7, 3:])):
            assert encode_frame(image) == frames.encode_frame(image)


@pytest.mark.parametrize(
    ("size", "small"),
    [((720, 1280), (270, 480)), ((1281, 719), (480, 269)), ((64, 96), (64, 96)), ((2000, 1), (480, 1))],
)
def test_thumbnails(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = _wavy(*size)
    data = encode_thumbnail(image)
    assert data == encode_thumbnail(image)
    decoded = frames.decode_image(data, "thumbnail.jpg")
    assert decoded is not None
    assert decoded.shape == (*small, 3)
    assert np.abs(decoded.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 3
