"""What is said of a child process that ends while it is spoken to."""

from __future__ import annotations

import pytest

from services.common.errors import UnreadableVideo
from services.common.stage import Job
from services.downloader.child import Child


def test_a_child_that_is_killed_while_it_is_answered_is_told_as_that() -> None:
    child = Child(
        "tests.support.deaf_child", {"request": "x" * 200_000},
        memory_bytes=1 << 30, silence_seconds=20.0, timeout_seconds=20.0,
    )  # fmt: skip
    with pytest.raises(UnreadableVideo, match="needs more than 1024 MiB"):
        list(child.messages(Job()))
