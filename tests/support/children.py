"""The child processes that one test begins: servers that other tests share may be children of this process, too."""

from __future__ import annotations

import psutil


class NewChildren:
    """Called: the children begun since this was made, that still run."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children())

    def __call__(self) -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child not in self._before]
