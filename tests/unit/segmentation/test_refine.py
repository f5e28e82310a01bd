"""Edges of an alpha."""

from __future__ import annotations

import numpy as np

from services.segmentation.refine import guided_filter, keep_connected


def test_a_coarse_edge_moves_to_the_edge_of_the_picture() -> None:
    picture = np.full((80, 80, 3), (200, 180, 160), np.uint8)
    picture[:, 40:] = (40, 60, 120)
    coarse = np.clip((np.arange(80) - 30) / 12, 0, 1).astype(np.float32)[None].repeat(80, axis=0)
    fine = guided_filter(picture, coarse, 6)
    assert fine.dtype == np.float32
    assert 0 <= fine.min() <= fine.max() <= 1
    step = np.diff(fine[40])
    assert int(np.argmax(step)) == 39
    assert step.max() > 0.4


def test_flat_pictures_and_full_alphas_stay() -> None:
    flat = np.full((40, 50, 3), 127, np.uint8)
    assert guided_filter(flat, np.ones((40, 50), np.float32), 4).min() > 0.999
    assert guided_filter(flat, np.zeros((40, 50), np.float32), 4).max() == 0


def test_islands_go_and_the_body_stays() -> None:
    alpha = np.zeros((60, 60), np.float32)
    alpha[10:50, 10:25] = 1
    alpha[10:50, 45:55] = 1
    body = np.zeros((60, 60), np.uint8)
    body[20:40, 15:20] = 255
    kept = keep_connected(alpha, body)
    assert (kept[10:50, 10:25] == 1).all()
    assert kept[:, 45:55].max() == 0


def test_nothing_goes_when_no_island_is_known_to_be_the_subject() -> None:
    alpha = np.zeros((20, 20), np.float32)
    alpha[2:5, 2:5] = alpha[10:15, 10:15] = 1
    np.testing.assert_array_equal(keep_connected(alpha, np.zeros((20, 20), np.uint8)), alpha)
