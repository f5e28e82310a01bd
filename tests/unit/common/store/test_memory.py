"""Every kind of store does the same as a dict of keys and bytes, whatever is asked of it in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.common.errors import ObjectNotFound
from services.common.store import FileObjectStore, MemoryObjectStore, ObjectStore

# No key is the folder of another, as the protocol asks.
KEYS = st.sampled_from(["a/1", "a/2", "a-b", "a.b/1", "b/c/1", "b/c/2", "b/d", "c"])
PREFIXES = st.sampled_from(["", "a", "a/", "a/1", "b/", "b/c", "d"])
DATA = st.binary(max_size=20)


class StoreMachine(RuleBasedStateMachine):
    """Drives two stores and the dict side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores: list[ObjectStore] = [MemoryObjectStore(), FileObjectStore(Path(self.folder.name) / "store")]
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(key=KEYS, data=DATA)
    def put(self, key: str, data: bytes) -> None:
        for store in self.stores:
            store.put(key, data)
        self.model[key] = data

    @rule(key=KEYS, data=DATA)
    def put_new(self, key: str, data: bytes) -> None:
        for store in self.stores:
            assert store.put_new(key, data) == (key not in self.model)
        self.model.setdefault(key, data)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        for store in self.stores:
            store.delete(key)
        self.model.pop(key, None)

    @rule(key=KEYS, first=st.integers(0, 25), count=st.integers(0, 25))
    def read(self, key: str, first: int, count: int) -> None:
        for store in self.stores:
            try:
                assert store.get(key) == self.model[key]
                assert store.get_range(key, first, count) == self.model[key][first : first + count]
            except (ObjectNotFound, KeyError):
                assert key not in self.model
                assert store.stat(key) is None

    @rule(prefix=PREFIXES)
    def list_some(self, prefix: str) -> None:
        expected = sorted((key, len(data)) for key, data in self.model.items() if key.startswith(prefix))
        for store in self.stores:
            assert [(info.key, info.size_bytes) for info in store.list(prefix)] == expected

    @invariant()
    def nothing_is_lost(self) -> None:
        for store in self.stores:
            assert [info.key for info in store.list("")] == sorted(self.model)


TestStores = StoreMachine.TestCase
TestStores.settings = settings(max_examples=25, stateful_step_count=30)
