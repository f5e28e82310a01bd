"""The empty background."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common import camera
from services.segmentation import plate as plates
from services.segmentation.fill import fill_unseen
from services.segmentation.hiding import hidden_by
from tests.unit.segmentation.scenes import HEIGHT, WIDTH, Filmed, filmed


class Matted(Filmed):
    def hidden(self, index: int) -> NDArray[np.uint8]:
        return hidden_by([self.frames[index].alpha])


def still(count: int) -> NDArray[np.float64]:
    return np.tile(camera.identity(), (count, 1, 1))


def test_masked_median_is_numpys() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 7, 5, 3), np.uint8)
    seen = rng.random((9, 7, 5)) < 0.5
    seen[:, 0, 0] = False
    median, known = plates.masked_median(pictures, seen, np.arange(9))
    assert not known[0, 0]
    for row, column in np.argwhere(known):
        expected = np.median(pictures[seen[:, row, column], row, column].astype(float), axis=0)
        np.testing.assert_allclose(median[row, column], expected, atol=0.51)


def test_the_room_appears_without_its_dancer() -> None:
    clip = filmed(24, step=3)
    built = plates.build_plate(Matted(clip.frames), clip.true_path(12))
    # The sensor's noise alone makes a mean error of about 1.3.
    assert built.heldout_error < 1.7
    assert built.heldout_error_unregistered > 1.5 * built.heldout_error
    assert built.picture.shape == (HEIGHT, WIDTH, 3)
    assert 0.8 < built.seen_fraction < 1.0


def test_a_tripod_needs_no_registration() -> None:
    built = plates.build_plate(Matted(filmed(16, drift=0.0).frames), still(16))
    assert built.heldout_error == built.heldout_error_unregistered < 1.7


def test_what_was_never_seen_is_marked_and_filled() -> None:
    class Blocked(Matted):
        def hidden(self, index: int) -> NDArray[np.uint8]:
            hidden = super().hidden(index)
            hidden[:150, :150] = plates.HIDDEN
            return hidden

    built = plates.build_plate(Blocked(filmed(16, drift=0.0).frames), still(16))
    assert not built.seen[:150, :150].any()
    assert built.fill_method != "none"
    assert "never seen" in built.warnings[0]
    assert built.picture[:150, :150].std() < 40


def test_shadows_give_way_to_what_is_seen_from_afar() -> None:
    class Shaded(Matted):
        def rgb(self, index: int) -> NDArray[np.uint8]:
            return np.full((HEIGHT, WIDTH, 3), 200 if index % 4 == 0 else 90, np.uint8)

        def hidden(self, index: int) -> NDArray[np.uint8]:
            return np.full((HEIGHT, WIDTH), 0 if index % 4 == 0 else plates.NEAR, np.uint8)

    built = plates.build_plate(Shaded(filmed(16, drift=0.0).frames), still(16))
    assert (built.picture == 200).all()


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = filmed(24, step=3)
    whole = plates.build_plate(Matted(clip.frames), clip.true_path(12))
    monkeypatch.setattr(plates, "_BAND_BYTES", 24 * WIDTH * 3 * 100)
    banded = plates.build_plate(Matted(clip.frames), clip.true_path(12))
    # OpenCV's fixed-point coordinates differ by where a band begins.
    np.testing.assert_allclose(whole.picture.astype(int), banded.picture, atol=2)
    assert whole.heldout_error == pytest.approx(banded.heldout_error, rel=1e-3)


def test_few_frames_have_no_held_out_error() -> None:
    built = plates.build_plate(Matted(filmed(16, drift=0.0).frames[:2]), still(2))
    assert np.isnan(built.heldout_error)


def test_samples_are_bounded_and_cover_the_clip() -> None:
    assert plates.sample_frames(1) == [0]
    assert plates.sample_frames(10) == list(range(10))
    sample = plates.sample_frames(100_000)
    assert (len(sample), sample[0], sample[-1]) == (75, 0, 99_999)


def test_filling_keeps_the_seen_and_is_smooth_elsewhere() -> None:
    x = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.repeat(np.tile(x, (48, 1))[:, :, None], 3, axis=2)
    seen = np.ones((48, 64), bool)
    seen[10:40, 20:44] = False
    filled = fill_unseen(np.where(seen[:, :, None], picture, 0).astype(np.uint8), seen)
    np.testing.assert_array_equal(filled[seen], picture[seen])
    assert np.abs(filled.astype(int) - picture).max() < 45
    assert np.abs(np.diff(filled.astype(int), axis=1)).max() < 25


def test_nothing_seen_is_grey() -> None:
    assert (fill_unseen(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool)) == 128).all()


def test_a_shadow_is_taken_out_and_things_stay() -> None:
    rng = np.random.default_rng(3)
    wall = np.full((240, 320, 3), 150.0) + rng.normal(0, 6, (240, 320, 1))
    shaded, seen = np.zeros((240, 320), np.bool_), np.ones((240, 320), np.bool_)
    shaded[80:200, 120:200] = True
    dark = wall.copy()
    dark[shaded] -= 12.0
    cleared = plates.without_shadow(np.rint(dark).astype(np.uint8), seen, shaded)
    inside = (slice(100, 180), slice(140, 180))
    assert abs(cleared[inside].mean() - wall[inside].mean()) < 2.0
    assert cleared[inside].std() > 0.9 * wall[inside].std()  # the wall's grain is no shadow
    assert np.array_equal(cleared[~shaded], np.rint(dark).astype(np.uint8)[~shaded])
    for thing in ((-60.0, -60.0, -60.0), (-12.0, 12.0, -12.0), (12.0, 12.0, 12.0)):
        there = wall.copy()
        there[shaded] += thing
        picture = np.rint(there).astype(np.uint8)
        assert np.abs(plates.without_shadow(picture, seen, shaded)[inside].astype(int) - picture[inside]).max() <= 1
