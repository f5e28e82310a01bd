"""The benchmark of scaling does what it says, on a small scale."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.bench.scale import Level, measure, picture, table


def test_two_workers_share_the_shards(tmp_path: Path) -> None:
    level = asyncio.run(measure(2, 2, 0.5, tmp_path))
    assert (level.workers, level.shards) == (2, 4)
    assert level.seconds >= 1.0  # nobody does two shards at once
    assert 0 < level.efficiency <= 1.0


def test_the_table_and_the_picture_have_every_level() -> None:
    levels = [Level(1, 5, 40.0, 1.0, 100.0), Level(40, 200, 43.0, 0.93, 120.0)]
    assert "40 | 200 | 43.0 | 0.930 | 120" in table(levels)
    drawn = picture(levels)
    assert drawn.count("<circle") == 2
    assert ">0.93<" in drawn
