"""Documents, jobs and augmented labels: in Redis, and in memory for tests."""

from shared.store.memory import MemoryStore
from shared.store.portable import Portable
from shared.store.protocols import (
    MAX_AMONG,
    MAX_TRIES,
    Followed,
    Remap,
    Revision,
    Store,
    Stored,
    Taken,
)
from shared.store.redis import RedisStore

__all__ = [
    "MAX_AMONG",
    "MAX_TRIES",
    "Followed",
    "MemoryStore",
    "Portable",
    "RedisStore",
    "Remap",
    "Revision",
    "Store",
    "Stored",
    "Taken",
]
