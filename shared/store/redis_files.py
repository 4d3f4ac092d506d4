"""What a Redis server keeps: searched for a text, key by key, and its files written anew so that they hold no more than that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis

from shared.errors import Unavailable

_SCANNED = 1_000
_POLL_SECONDS = 0.1


class RedisFiles:
    """The part of a `RedisStore` that knows its server's files."""

    _redis: redis.Redis

    def _asking(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def rewrite_files(self, *, timeout_seconds: float = 600.0) -> None:
        """Have the append-only file and the snapshot written anew, beside requests: what was deleted is in neither then.

        Raises:
            Unavailable: it did not work, or takes longer.
        """
        ends = time.monotonic() + timeout_seconds
        with self._asking():
            if self._persistence()["aof_enabled"]:
                self._redis.bgrewriteaof()
                self._wait("aof", ends)
            self._redis.bgsave()
            self._wait("rdb", ends)
            self._redis.slowlog_reset()

    def _wait(self, what: str, ends: float) -> None:
        saves = {
            "aof": ("aof_rewrite", "aof_last_bgrewrite"),
            "rdb": ("rdb_bgsave", "rdb_last_bgsave"),
        }
        running, last = saves[what]
        while True:
            info = self._persistence()
            if not info[f"{running}_in_progress"] and not info.get(f"{running}_scheduled"):
                break
            if time.monotonic() > ends:
                raise Unavailable(f"Redis still writes its {what} file")
            time.sleep(_POLL_SECONDS)
        if info[f"{last}_status"] != "ok":
            raise Unavailable(f"Redis could not write its {what} file: its log says why")

    def _persistence(self) -> dict[str, Any]:
        found: Any = self._redis.info("persistence")
        return dict(found)

    def keys_with(self, is_in: Callable[[str], bool]) -> Iterator[str]:
        """Yield every key of the database, the queue's too, that has a text in its name or anywhere in its value."""
        cursor = 0
        while True:
            with self._asking():
                scanned: Any = self._redis.scan(cursor, count=_SCANNED)
                cursor, names = scanned
                pipeline = self._redis.pipeline(transaction=False)
                for name in names:
                    pipeline.type(name)
                kinds = pipeline.execute()
            for name, kind in zip(names, kinds, strict=True):
                if is_in(name) or any(map(is_in, self._texts_of(name, kind))):
                    yield name
            if not cursor:
                return

    def _texts_of(self, name: str, kind: str) -> Iterator[str]:
        if kind == "string":
            with self._asking():
                value: Any = self._redis.get(name)
            yield value or ""
        elif kind == "list":
            yield from self._listed(name)
        else:
            yield from self._members_of(name, kind)

    def _listed(self, name: str) -> Iterator[str]:
        start = 0
        while True:
            with self._asking():
                some: Any = self._redis.lrange(name, start, start + _SCANNED - 1)
            yield from some
            if len(some) < _SCANNED:
                return
            start += _SCANNED

    def _members_of(self, name: str, kind: str) -> Iterator[str]:
        scan: dict[str, Any] = {
            "hash": self._redis.hscan,
            "set": self._redis.sscan,
            "zset": self._redis.zscan,
        }
        if kind not in scan:
            raise Unavailable(f"{name}: a {kind} cannot be searched")
        cursor = 0
        while True:
            with self._asking():
                found: Any = scan[kind](name, cursor, count=_SCANNED)
            cursor, members = found
            if isinstance(members, dict):
                members = [text for member in members.items() for text in member]
            yield from (_text_of(member) for member in members)
            if not cursor:
                return


def _text_of(member: str | Sequence[object]) -> str:
    return member if isinstance(member, str) else str(member[0])
