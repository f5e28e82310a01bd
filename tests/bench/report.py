"""Runs to a table and a picture."""

from __future__ import annotations

import os
import platform
import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from tests.bench.stages import ABOUT, STAGES, Run

ALLOWED = 1.15
"""Time that the services may take for all stages, as a multiple of the plain script's."""


@dataclass(frozen=True)
class Spread:
    """Median and range of several runs."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


@dataclass(frozen=True)
class Report:
    """Pairs of runs that were made one after the other: by the services, by the plain script."""

    pairs: Sequence[tuple[Run, Run]]

    def rates(self, stage: str) -> tuple[Spread, Spread]:
        """Units a second of services and plain script."""
        served, plain = ([pair[side].rate(stage) for pair in self.pairs] for side in (0, 1))
        return Spread.of(served), Spread.of(plain)

    def times(self, stage: str) -> Spread:
        """Seconds a unit of the services as a multiple of the plain script's of the same pair."""
        return Spread.of([plain.rate(stage) / served.rate(stage) for served, plain in self.pairs])

    def totals(self) -> tuple[Spread, Spread, Spread]:
        """Seconds of all stages by services and plain script, and their quotient in each pair."""
        served, plain = ([pair[side].total_seconds for pair in self.pairs] for side in (0, 1))
        return Spread.of(served), Spread.of(plain), Spread.of([a / b for a, b in zip(served, plain, strict=True)])

    def table(self) -> str:
        rows = [("stage", "unit", "services median (min-max)", "plain median (min-max)", "time services/plain")]
        for stage, unit in STAGES.items():
            served, plain = self.rates(stage)
            rows.append((stage, f"{unit}/s", str(served), str(plain), str(self.times(stage))))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines.insert(1, "-|-".join("-" * width for width in widths))
        served, plain, quotient = self.totals()
        return "\n".join([
            *lines,
            *(f"{stage}: {text}" for stage, text in ABOUT.items()),
            f"all stages: services {served} s, plain {plain} s, services/plain {quotient} "
            f"(may be {ALLOWED:.2f})",
        ])  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        served, plain, quotient = self.totals()
        return {
            "machine": machine(),
            "clip": {name: getattr(self.pairs[0][0], name) for name in ("width", "height", "frame_count")},
            "stages": {stage: self._stage_json(stage) for stage in STAGES},
            "total_seconds": {"services": vars(served), "plain": vars(plain), "time_ratio": vars(quotient)},
            "runs": [{"services": a.to_json(), "plain": b.to_json()} for a, b in self.pairs],
        }

    def _stage_json(self, stage: str) -> dict[str, Any]:
        served, plain = self.rates(stage)
        return {
            "unit": f"{STAGES[stage]}/s",
            "services": vars(served),
            "plain": vars(plain),
            "time_ratio": vars(self.times(stage)),
        }

    def picture(self) -> str:
        """SVG: for each stage its time by services over that by the plain script, and what is allowed in all."""
        bars = [(stage, self.times(stage)) for stage in STAGES] + [("all stages", self.totals()[2])]
        scale = _Scale(left=130, width=560, longest=max(1.3, *(spread.high for _, spread in bars)))
        parts = [part for row, (name, spread) in enumerate(bars) for part in _bar(name, spread, 40 + 26 * row, scale)]
        bottom = 40 + 26 * len(bars)
        for value, colour, dash in ((1.0, "#444", ""), (ALLOWED, "#c33", ' stroke-dasharray="4 3"')):
            x = scale(value)
            parts.append(f'<line x1="{x}" x2="{x}" y1="30" y2="{bottom}" stroke="{colour}"{dash}/>')
            parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" fill="{colour}">{value:g}</text>')
        title = "Time of each stage through the services; 1 is a plain script (median, min-max)"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{bottom + 30}" '
            f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
            f'<text x="10" y="20" font-size="14">{title}</text>{"".join(parts)}</svg>\n'
        )


@dataclass(frozen=True)
class _Scale:
    """Times to px."""

    left: float
    width: float
    longest: float

    def __call__(self, value: float) -> float:
        return round(self.left + self.width * value / self.longest, 1)


def _bar(name: str, spread: Spread, top: int, scale: Callable[[float], float]) -> list[str]:
    zero, end, middle = scale(0.0), scale(spread.median), top + 9
    low, high = scale(spread.low), scale(spread.high)
    return [
        f'<text x="{zero - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{zero}" y="{top}" width="{round(end - zero, 1)}" height="18" fill="#5b8fc9"/>',
        f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}" stroke="#123" stroke-width="2"/>',
        f'<text x="{high + 8}" y="{middle + 4}">{spread.median:.2f}</text>',
    ]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    models = [
        line.partition(":")[2].strip()
        for line in _lines(Path("/proc/cpuinfo"))
        if line.startswith("model name")
    ]  # fmt: skip
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1_minute": round(os.getloadavg()[0], 2),
    }


def peak_memory_mib() -> float:
    """Resident memory of this process at most. The system's other figure, ru_maxrss, begins with the parent's."""
    found = [line.split()[1] for line in _lines(Path("/proc/self/status")) if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
