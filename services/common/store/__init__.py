"""Object storage behind one protocol, chosen by URL."""

from services.common.store.base import ObjectInfo, ObjectStore
from services.common.store.files import FileObjectStore
from services.common.store.measured import MeasuredStore
from services.common.store.memory import MemoryObjectStore
from services.common.store.open import open_store

__all__ = ["FileObjectStore", "MeasuredStore", "MemoryObjectStore", "ObjectInfo", "ObjectStore", "open_store"]
