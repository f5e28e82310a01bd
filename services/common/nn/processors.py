"""How many processors a computation may use."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cpus() -> int:
    """Processors that this process may use: by its affinity and, in a container, by its quota. At least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        allowed = cpus if quota == "max" else round(int(quota) / int(period))
    except (OSError, ValueError):
        allowed = cpus
    return max(1, min(cpus, allowed))
