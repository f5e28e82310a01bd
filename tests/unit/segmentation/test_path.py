"""From measurements to a path."""

from __future__ import annotations

import numpy as np

from services.common import camera
from services.segmentation import path

SIZE = (640, 360)


def measured(matrices: np.ndarray, noise_px: float) -> path.MeasuredPath:
    result = path.MeasuredPath.empty(len(matrices), *SIZE)
    result.matrices[:] = matrices
    result.measured[:] = True
    result.half_difference_px[:] = 2 * noise_px
    return result


def shifts(x: np.ndarray) -> np.ndarray:
    matrices = np.tile(camera.identity(), (len(x), 1, 1))
    matrices[:, 0, 2] = x
    return matrices


def test_noise_on_a_slow_path_is_smoothed() -> None:
    rng = np.random.default_rng(0)
    truth = 20 * np.sin(np.arange(200) / 30)
    noisy = truth + rng.normal(0, 0.2, 200)
    cleaned, good, window = path.cleaned(measured(shifts(noisy), 0.2))
    assert good.all()
    assert window > 1
    assert np.abs(cleaned[:, 0, 2] - truth).mean() < 0.6 * np.abs(noisy - truth).mean()


def test_real_shake_is_kept() -> None:
    truth = 3 * np.sin(np.arange(120) * 1.9)
    cleaned, _, window = path.cleaned(measured(shifts(truth), 0.05))
    assert window == 1
    np.testing.assert_allclose(cleaned[:, 0, 2], truth, atol=1e-9)


def test_a_lone_wild_frame_is_replaced() -> None:
    x = np.linspace(0, 10, 40)
    wild = x.copy()
    wild[20] += 30
    cleaned, good, _ = path.cleaned(measured(shifts(wild), 0.05))
    assert not good[20]
    assert good.sum() == 39
    np.testing.assert_allclose(cleaned[:, 0, 2], x, atol=0.05)


def test_a_jump_that_stays_is_kept() -> None:
    x = np.where(np.arange(40) < 20, 0.0, 25.0)
    cleaned, good, _ = path.cleaned(measured(shifts(x), 0.05))
    assert good.all()
    np.testing.assert_allclose(cleaned[:, 0, 2], x, atol=1e-9)


def test_the_centre_of_the_path_becomes_the_reference() -> None:
    matrices, index = path.centred(shifts(np.array([0.0, 1, 2, 3, 40])), np.ones(5, bool), *SIZE)
    assert index == 2
    np.testing.assert_allclose(matrices[:, 0, 2], [-2, -1, 0, 1, 38])


def test_movement_below_the_noise_is_stillness() -> None:
    x = np.random.default_rng(1).normal(0, 0.3, 50)
    assert path.is_still(shifts(x), measured(shifts(x), 0.5))
    assert not path.is_still(shifts(10 * x), measured(shifts(10 * x), 0.1))
