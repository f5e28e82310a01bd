"""Shorthand of the tests of stores."""

from __future__ import annotations

from services.common.store import ObjectStore


def keys(store: ObjectStore, prefix: str) -> list[str]:
    """What `list` gives, names alone."""
    return [info.key for info in store.list(prefix)]
