from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.video.timing import choose_timing

RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50),
         Fraction(60000, 1001), Fraction(60), Fraction(10), Fraction(5)]  # fmt: skip


def _ticks(count: int, rate: Fraction, base: Fraction, start: int = 0) -> np.ndarray:
    return np.array([start + round(i / rate / base) for i in range(count)], np.int64)


@given(st.sampled_from(RATES), st.integers(2, 400), st.sampled_from([1000, 90_000, 12_800]), st.integers(-5000, 10**9))
def test_constant_rate_is_the_identity(rate: Fraction, count: int, ticks_a_second: int, start: int) -> None:
    base = Fraction(1, ticks_a_second)
    ticks = _ticks(count, rate, base, start)
    timing = choose_timing(ticks, 0, base, [rate])
    assert timing.rate == rate
    assert not timing.variable
    assert [timing.slot(int(tick)) for tick in ticks] == list(range(count))
    assert timing.slot_count == count


@pytest.mark.parametrize("rate", RATES)
def test_the_rate_is_found_without_a_hint(rate: Fraction) -> None:
    base = Fraction(1, 1000)
    assert choose_timing(_ticks(250, rate, base), 0, base, []).rate == rate


def test_a_lying_hint_is_not_believed() -> None:
    base = Fraction(1, 90_000)
    assert choose_timing(_ticks(100, Fraction(24), base), 0, base, [Fraction(30)]).rate == 24


def test_odd_rates_are_kept_exactly() -> None:
    base = Fraction(1, 1490)
    assert choose_timing(np.arange(120, dtype=np.int64) * 100, 0, base, []).rate == Fraction(149, 10)


def test_late_frames_of_a_telephone() -> None:
    base = Fraction(1, 90_000)
    ticks = _ticks(200, Fraction(30), base)
    kept = np.delete(ticks, [20, 21, 77, 130])
    timing = choose_timing(kept, 0, base, [Fraction(2987, 100)])
    assert timing.variable
    assert timing.rate == 30
    assert timing.slot_count == 200
    assert timing.slot(int(ticks[131])) == 131


def test_rates_that_change_midway() -> None:
    base = Fraction(1, 1000)
    ticks = np.concatenate([np.arange(0, 4000, 40), np.arange(4000, 6000, 100)]).astype(np.int64)
    timing = choose_timing(ticks, 0, base, [])
    assert timing.variable
    assert timing.rate == 25
    assert timing.slot_count == 100 + 49


@pytest.mark.parametrize("untimed", [0, 50])
def test_useless_timestamps_are_counted(untimed: int) -> None:
    ticks = np.zeros(50, np.int64)
    timing = choose_timing(ticks, untimed, Fraction(1, 1000), [Fraction(12)])
    assert not timing.timed
    assert timing.rate == 12
    assert timing.slot_count == 50 + untimed


def test_a_jump_of_days_is_no_length() -> None:
    ticks = np.concatenate([np.arange(50) * 40, 10**9 + np.arange(50) * 40]).astype(np.int64)
    timing = choose_timing(ticks, 0, Fraction(1, 1000), [Fraction(25)])
    assert not timing.timed
    assert timing.slot_count == 100
