"""Measures of likeness against values worked out by hand or by definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.common import metrics_image
from services.trainer.losses import ssim_map
from tests.unit.trainer.figure import make_plate


def _noisy(amount: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    noise = np.random.default_rng(1).integers(-amount, amount + 1, (60, 80, 3))
    return np.clip(make_plate(80, 60).astype(int) + noise, 0, 255).astype(np.uint8)


def test_equal_pictures() -> None:
    plate = make_plate(80, 60)
    assert metrics_image.ssim(plate, plate) == pytest.approx(1.0, abs=1e-4)
    assert metrics_image.psnr_db(plate, plate) == metrics_image.PSNR_LIMIT_DB
    assert metrics_image.sharpness(plate, plate, np.ones((60, 80), dtype=np.bool_)) == pytest.approx(1.0)


def test_psnr_of_a_known_error() -> None:
    black, grey = np.zeros((8, 8, 3), dtype=np.uint8), np.full((8, 8, 3), 51, dtype=np.uint8)  # a fifth of 255
    assert metrics_image.psnr_db(black, grey) == pytest.approx(-20 * np.log10(0.2), abs=1e-6)


def test_ssim_of_flat_pictures_is_the_luminance_term() -> None:
    first, second = np.full((32, 32, 3), 51, dtype=np.uint8), np.full((32, 32, 3), 102, dtype=np.uint8)
    expected = (2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4)
    assert metrics_image.ssim(first, second) == pytest.approx(expected, abs=1e-4)


def test_more_noise_is_less_alike() -> None:
    plate = make_plate(80, 60)
    scores = [metrics_image.ssim(plate, _noisy(amount)) for amount in (5, 20, 60)]
    assert scores[0] > scores[1] > scores[2]


def test_masks_choose_what_counts() -> None:
    plate = make_plate(80, 60)
    spoilt, mask = plate.copy(), np.zeros((60, 80), dtype=np.bool_)
    spoilt[:20, :20] = 0
    mask[40:, 40:] = True
    assert metrics_image.psnr_db(plate, spoilt, mask) == metrics_image.PSNR_LIMIT_DB
    assert metrics_image.ssim(plate, spoilt, mask) == pytest.approx(1.0, abs=1e-4)


def test_flicker_is_wrong_change_only() -> None:
    still, mask = np.full((20, 20, 3), 100, dtype=np.uint8), np.ones((20, 20), dtype=np.bool_)
    brighter = still + np.uint8(51)
    assert metrics_image.flicker([still, brighter], [still, brighter], [mask, mask]) == 0
    assert metrics_image.flicker([still, brighter], [still, still], [mask, mask]) == pytest.approx(0.2)
    assert np.isnan(metrics_image.flicker([still], [still], [mask]))


def test_change_outside_is_what_moves_where_nobody_is() -> None:
    still, mask = np.full((20, 20, 3), 100, dtype=np.uint8), np.zeros((20, 20), dtype=np.bool_)
    mask[:10] = True
    other = still.copy()
    other[:10] = 250
    assert metrics_image.change_outside([still, other], [mask, mask]) == 0
    other[10:] = 151
    assert metrics_image.change_outside([still, other], [mask, mask]) == pytest.approx(0.2)
    assert np.isnan(metrics_image.change_outside([still], [mask]))
    assert np.isnan(metrics_image.change_outside([still, other], [~mask | mask, mask]))


def test_mask_grows_by_a_disc() -> None:
    matte = np.zeros((41, 41), dtype=np.uint8)
    matte[20, 20] = 255
    mask = metrics_image.grow_mask(matte, 7)
    assert mask[20, 13]
    assert mask[13, 20]
    assert not mask[20, 12]
    assert not mask[13, 13]


def test_the_training_loss_has_the_same_ssim() -> None:
    first, second = make_plate(80, 60), _noisy(30)
    tensors = [torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255 for picture in (first, second)]
    found = ssim_map(tensors[0], tensors[1]).mean(1)[0].numpy()
    # OpenCV's BORDER_REFLECT repeats the edge pixel, the loss does not: the rim differs.
    assert np.abs(found - metrics_image.ssim_map(first, second))[6:-6, 6:-6].max() < 1e-4
