"""How labels follow the mapping service, in memory: remaps, and the version and policy they have reached."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import datetime

from shared.contracts.augmentation import Job, JobKind, JobState
from shared.store.memory_intake import Kept
from shared.store.memory_work import NO_LEASE
from shared.store.protocols import Followed, Page, Remap, Revision


class MemoryRemaps:
    """The part of a `MemoryStore` that remaps documents."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _documents: dict[str, Kept]
    _jobs: dict[str, Job]
    _waiting: dict[tuple[str, str], datetime]

    def __init__(self) -> None:
        self._remaps: dict[str, Remap] = {}
        self._opening: dict[str, str] = {}
        self._followed: Followed | None = None
        self._is_back = False
        self._behind: set[str] = set()
        self._removed: dict[str, int] = {}

    def _judge(self, job_id: str) -> None:
        raise NotImplementedError

    def begin_remap(self, remap: Remap) -> Job:
        """Begin a job that maps every labelled document anew."""
        with self._lock:
            job = self._begin_remap(remap, documents=0)
            self._opening[job.id] = ""
            return job

    def _begin_remap(self, remap: Remap, documents: int) -> Job:
        job = Job(
            id=uuid.uuid4().hex,
            kind=JobKind.REMAP,
            state=JobState.ACCEPTED,
            accepted_at=self._now(),
            documents=documents,
        )
        self._jobs[job.id] = job
        self._remaps[job.id] = remap
        return job

    def remap_of(self, job_id: str) -> Remap | None:
        """Return what a remap is about, None for any other job."""
        with self._lock:
            return self._remaps.get(job_id)

    def opening(self) -> list[str]:
        """Return the ids of the remaps that still accept documents."""
        with self._lock:
            return list(self._opening)

    def accept_page(self, job_id: str, limit: int) -> Page:
        """Let a remap accept its next labelled documents."""
        with self._lock:
            if job_id not in self._opening:
                return Page([], is_last=True)
            after = self._opening[job_id]
            page = sorted(each for each in self._documents if each > after)[:limit]
            accepted = [each for each in page if self._documents[each].revision]
            self._waiting.update({(job_id, each): NO_LEASE for each in accepted})
            job = self._jobs[job_id]
            documents = job.documents + len(accepted)
            self._jobs[job_id] = job.model_copy(update={"documents": documents})
            if len(page) == limit:
                self._opening[job_id] = page[-1]
                return Page(accepted, is_last=False)
            del self._opening[job_id]
            self._judge(job_id)
            return Page(accepted, is_last=True)

    def followed(self) -> Followed | None:
        """Return how far labels have followed the mapping service."""
        with self._lock:
            return self._followed

    def follow(
        self, since: Followed | None, version: int, policy: str, remap: Remap | None
    ) -> bool:
        """Move on and begin the remap that this takes, in one step."""
        with self._lock:
            if _state_of(self._followed) != _state_of(since):
                return False
            job = self.begin_remap(remap) if remap is not None and self._documents else None
            before = since.version if since else version
            if version < before:
                self._removed.clear()
            self._is_back = version < before or (self._is_back and version == before)
            self._followed = Followed(version, policy, job.id if job else None)
            return True

    def remap_behind(self, limit: int) -> tuple[str, list[str]] | None:
        """Begin a remap of documents whose labels are not of the version and policy followed."""
        with self._lock:
            if self._followed is None:
                return None
            page = sorted(self._behind)[:limit]
            self._behind.difference_update(page)
            document_ids = [
                each
                for each in page
                if (revision := self._documents[each].revision)
                and self._is_behind(revision, self._followed)
            ]
            if not document_ids:
                return None
            job = self._begin_remap(Remap(), len(document_ids))
            self._waiting.update({(job.id, each): NO_LEASE for each in document_ids})
            return job.id, document_ids

    def _is_older(self, revision: Revision, previous: Revision) -> bool:
        newest = previous.index_version
        if self._followed and self._is_back:
            newest = min(newest, self._followed.version)
        return previous.content_hash == revision.content_hash and newest > revision.index_version

    @staticmethod
    def _is_behind(revision: Revision, followed: Followed) -> bool:
        return (revision.index_version, revision.policy) != (followed.version, followed.policy)


def _state_of(followed: Followed | None) -> tuple[int, str] | None:
    return (followed.version, followed.policy) if followed else None
