"""`understudy doctor`: looks at the machine and says what to do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from gateway.cli.home import Home
from gateway.cli.stack import Stack
from services.common.errors import UnderstudyError
from services.common.weights import WEIGHTS, default_weights_dir, verified_weight_path

_PACKAGES = ("torch", "openvino", "av", "opencv-python-headless", "grpcio", "dbos")
_FREE_DISK_BYTES = 5 << 30
_FREE_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `advice` says what to do when it is not good."""

    what: str
    good: bool
    found: str
    advice: str = ""


def examine(home_path: Path | None, *, as_json: bool) -> bool:
    """Prints the findings. True when nothing stands in the way of a transfer."""
    findings = [look(home_path) for look in _LOOKS]
    good = all(finding.good for finding in findings)
    if as_json:
        sys.stdout.write(json.dumps({"good": good, "findings": [asdict(each) for each in findings]}) + "\n")
        return good
    table = Table("", "what", "found", "what to do", box=None)
    for finding in findings:
        mark = "[green]ok[/]" if finding.good else "[red]no[/]"
        table.add_row(mark, finding.what, finding.found, "" if finding.good else finding.advice)
    Console(soft_wrap=True).print(table)
    return good


def _python(_home: Path | None) -> Finding:
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", good, platform.python_version(), "use Python 3.11, 3.12 or 3.13")


def _packages(_home: Path | None) -> Finding:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    return Finding("packages", not missing, ", ".join(found), f"missing {', '.join(missing)}: run `make setup`")


def _weights(_home: Path | None) -> Finding:
    folder = default_weights_dir()
    try:
        for name in WEIGHTS:
            verified_weight_path(folder, name)
    except UnderstudyError as error:
        return Finding("model weights", good=False, found=str(folder), advice=error.message)
    return Finding("model weights", good=True, found=str(folder))


def _processor(_home: Path | None) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = ""
    if sys.platform == "linux":
        flags = Path("/proc/cpuinfo").read_text(errors="replace")
    bf16 = "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "no bf16"
    return Finding("processor", cores >= 1, f"{cores} cores, {bf16}")


def _memory(_home: Path | None) -> Finding:
    free = psutil.virtual_memory().available
    return Finding("memory", free >= _FREE_MEMORY_BYTES, f"{free / 2**30:.1f} GiB free", "free 4 GiB of memory")


def _graphics(_home: Path | None) -> Finding:
    found = shutil.which("nvidia-smi")
    return Finding("GPU", good=True, found="NVIDIA driver found" if found else "none: the processor is used")


def _disk(home_path: Path | None) -> Finding:
    try:
        home = Home.open(home_path)
    except UnderstudyError as error:
        return Finding("data folder", good=False, found=str(home_path or ""), advice=error.message)
    free = shutil.disk_usage(home.path).free
    return Finding(
        "data folder", free >= _FREE_DISK_BYTES, f"{home.path}, {free / 2**30:.1f} GiB free", "free 5 GiB there"
    )


def _gateway(home_path: Path | None) -> Finding:
    from gateway.cli.client import GatewayClient

    try:
        home = Home.open(home_path)
        url = home.running_gateway()
        if url:
            return Finding("gateway", good=True, found=f"up at {url}")
        with Stack(home, lambda _line: None, services=()) as stack:
            client = GatewayClient(stack.url, stack.check)
            client.get("/healthz")
            client.close()
    except UnderstudyError as error:
        return Finding("gateway", good=False, found="does not start", advice=error.message)
    return Finding("gateway", good=True, found="starts and answers")


_LOOKS: tuple[Callable[[Path | None], Finding], ...] = (
    _python, _packages, _weights, _processor, _memory, _graphics, _disk, _gateway,
)  # fmt: skip
