"""How labels follow the mapping service, in Redis: remaps, and the version and policy they have reached."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from typing import Any

import orjson
import redis

from shared.contracts.augmentation import Job, JobKind, JobState
from shared.store import keys, records, remap_scripts
from shared.store.protocols import Followed, Page, Remap


class RedisRemaps:
    """The part of a `RedisStore` that remaps documents."""

    _redis: redis.Redis

    def _asking(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _register_remaps(self, client: redis.Redis) -> None:
        self._begin_remap = client.register_script(remap_scripts.BEGIN_REMAP)
        self._accept_page = client.register_script(remap_scripts.ACCEPT_PAGE)
        self._follow = client.register_script(remap_scripts.FOLLOW)
        self._remap_behind = client.register_script(remap_scripts.REMAP_BEHIND)

    def begin_remap(self, remap: Remap) -> Job:
        """Begin a job that maps every labelled document anew."""
        job_id = uuid.uuid4().hex
        with self._asking():
            accepted_at = self._begin_remap(args=[job_id, _among(remap)])
        return Job(
            id=job_id,
            kind=JobKind.REMAP,
            state=JobState.ACCEPTED,
            accepted_at=records.time_of(accepted_at),
            documents=0,
        )

    def remap_of(self, job_id: str) -> Remap | None:
        """Return what a remap is about, None for any other job."""
        with self._asking():
            kind: Any = self._redis.hget(keys.JOB + job_id, "kind")
            if kind != JobKind.REMAP:
                return None
            among: Any = self._redis.get(keys.AMONG + job_id)
        return Remap(tuple(orjson.loads(among)) if among else ())

    def opening(self) -> list[str]:
        """Return the ids of the remaps that still accept documents."""
        with self._asking():
            found: Any = self._redis.zrange(keys.OPENING, 0, -1)
        return list(found)

    def accept_page(self, job_id: str, limit: int) -> Page:
        """Let a remap accept its next labelled documents."""
        with self._asking():
            is_last, *document_ids = self._accept_page(args=[job_id, limit])
        return Page(document_ids, bool(is_last))

    def followed(self) -> Followed | None:
        """Return how far labels have followed the mapping service."""
        with self._asking():
            found: Any = self._redis.hgetall(keys.FOLLOWED)
        if not found:
            return None
        return Followed(int(found["version"]), found["policy"], found.get("job"))

    def follow(
        self, since: Followed | None, version: int, policy: str, remap: Remap | None
    ) -> bool:
        """Move on and begin the remap that this takes, in one step."""
        before = (since.version, since.policy) if since else ("", "")
        wanted = (0, "") if remap is None else (1, _among(remap))
        with self._asking():
            return bool(self._follow(args=[*before, version, policy, uuid.uuid4().hex, *wanted]))

    def remap_behind(self, limit: int) -> tuple[str, list[str]] | None:
        """Begin a remap of documents whose labels are not of the version and policy followed."""
        job_id = uuid.uuid4().hex
        with self._asking():
            document_ids = self._remap_behind(args=[job_id, limit])
        return (job_id, document_ids) if document_ids else None


def _among(remap: Remap) -> bytes | str:
    return orjson.dumps(list(remap.among)) if remap.among else ""
