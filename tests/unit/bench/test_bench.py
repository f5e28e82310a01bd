"""The benchmark ends and gives figures. What they are is for a quiet machine to say."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from services.common.synthetic import write_synthetic_pair
from tests.bench.__main__ import run_plain
from tests.bench.report import Report
from tests.bench.served import run_served
from tests.bench.stages import STAGES, Run, Work

FRAMES, ITERATIONS = 30, 1


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    pair = write_synthetic_pair(
        tmp_path_factory.mktemp("dancers"),
        source_frames=8,
        target_frames=FRAMES + 2,
        source_size=(128, 128),
        target_size=(192, 192),
    )
    return Work(pair.target, FRAMES, ITERATIONS)


def assert_whole(run: Run) -> None:
    assert (run.width, run.height, run.frame_count) == (192, 192, FRAMES)
    assert run.counts == {stage: ITERATIONS if stage == "training" else FRAMES for stage in STAGES}
    assert all(math.isfinite(run.rate(stage)) and run.rate(stage) > 0 for stage in STAGES)


def test_a_run_through_the_services_times_every_stage(work: Work, tmp_path: Path) -> None:
    assert_whole(run_served(work, tmp_path))


def test_a_run_of_the_plain_script_times_every_stage(work: Work, tmp_path: Path) -> None:
    assert_whole(run_plain(work, tmp_path))


def made_run(seconds: float) -> Run:
    run = Run(64, 48, 10)
    for stage in STAGES:
        run.add(stage, 10, seconds)
    return run


def test_the_report_compares_runs_in_pairs() -> None:
    report = Report([(made_run(2.0), made_run(1.0)), (made_run(3.0), made_run(2.0)), (made_run(6.0), made_run(5.0))])
    totals = "services 30.0 (20.0-60.0) s, plain 20.0 (10.0-50.0) s, services/plain 1.50 (1.20-2.00)"
    assert report.table().splitlines()[-1] == f"all stages: {totals} (may be 1.15)"
    assert "pose          | frames/s     | 3.33 (1.67-5.00)          | 5.00 (2.00-10.00)" in report.table()
    assert report.to_json()["stages"]["training"]["time_ratio"] == {"median": 1.5, "low": 1.2, "high": 2.0}
    texts = [element.text for element in ET.fromstring(report.picture()).iter() if element.text]
    assert set(STAGES) | {"all stages"} <= set(texts)
