"""The part of the store in memory that knows who works on what, and what was given up."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from shared.contracts.augmentation import DeadLetter, DeadLetters, Job, JobState
from shared.store.protocols import MAX_TRIES, UNKNOWN_DEATH, Taken

NO_LEASE = datetime.min.replace(tzinfo=UTC)
_Entry = tuple[str, str]


@dataclass(frozen=True)
class Try:
    """Tries of a document alone, whose hands it is in, and why its last try failed."""

    alone: int = 0
    owner: str = ""
    reason: str = ""


class MemoryWork:
    """Who has which documents in hands, and how often they were tried.

    Args:
        now: tells the time.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[_Entry, datetime] = {}
        self._tries: dict[_Entry, Try] = {}
        self._deaths: dict[str, DeadLetter] = {}

    def take(self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float) -> Taken:
        """Take in hands what waits and is in no other's, and count the try."""
        with self._lock:
            fresh, suspects = self._ready(job_id, document_ids, owner, seconds)
            taken, apart = fresh, suspects
            if not fresh and len(suspects) == 1:
                taken, apart = suspects, []
            for each in taken:
                before = self._tries.get((job_id, each), Try())
                alone = before.alone + (len(taken) == 1)
                self._tries[job_id, each] = replace(before, alone=alone, owner=owner)
                self._waiting[job_id, each] = self._now() + timedelta(seconds=seconds)
            for each in apart:
                self._disown((job_id, each))
            return Taken(taken, apart)

    def _ready(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float
    ) -> tuple[list[str], list[str]]:
        """Return what can be worked on: what was never begun, and what was."""
        if job_id in self._jobs and self._jobs[job_id].state is JobState.CANCELLED:
            self._leave_out(job_id, document_ids)
            return [], []
        fresh: list[str] = []
        suspects: list[str] = []
        now = self._now()
        for each in document_ids:
            entry = (job_id, each)
            leased, tries = self._waiting.get(entry), self._tries.get(entry)
            is_anothers = tries is not None and tries.owner not in ("", owner)
            if leased is None or (
                is_anothers and now < leased <= now + timedelta(seconds=seconds)
            ):
                continue
            if not self._is_there(each):
                self.finish_document(job_id, each)
            elif tries is None:
                fresh.append(each)
            elif tries.alone >= MAX_TRIES:
                self.finish_document(job_id, each, error=tries.reason or UNKNOWN_DEATH)
            else:
                suspects.append(each)
        return fresh, suspects

    def renew(self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float) -> None:
        """Keep what is still the owner's in its hands for that long from now."""
        with self._lock:
            for each in document_ids:
                tries = self._tries.get((job_id, each))
                if tries and tries.owner == owner and (job_id, each) in self._waiting:
                    self._waiting[job_id, each] = self._now() + timedelta(seconds=seconds)

    def hand_back(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float
    ) -> None:
        """Let go of what is still the owner's; its try does not count."""
        with self._lock:
            for entry, tries in self._let_go(job_id, document_ids, owner, seconds):
                if tries.alone:
                    self._tries[entry] = replace(tries, alone=tries.alone - 1)
                else:
                    del self._tries[entry]

    def blame(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float, reason: str
    ) -> Sequence[str]:
        """Let go of what is still the owner's, whose try failed; return what may be tried again."""
        left = []
        with self._lock:
            for entry, tries in self._let_go(job_id, document_ids, owner, seconds):
                self._tries[entry] = replace(tries, reason=reason)
                if tries.alone >= MAX_TRIES:
                    self.finish_document(*entry, error=reason)
                else:
                    left.append(entry[1])
        return left

    def _let_go(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float
    ) -> list[tuple[_Entry, Try]]:
        found = []
        for each in document_ids:
            entry = (job_id, each)
            tries = self._tries.get(entry)
            if tries is None or tries.owner != owner:
                continue
            if entry not in self._waiting:
                del self._tries[entry]
                continue
            self._waiting[entry] = self._now() + timedelta(seconds=seconds)
            found.append((entry, self._disown(entry)))
        return found

    def _leave_out(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Let nothing of a cancelled job wait any longer."""
        for each in document_ids:
            self._waiting.pop((job_id, each), None)
            self._tries.pop((job_id, each), None)

    def _disown(self, entry: _Entry) -> Try:
        self._tries[entry] = replace(self._tries[entry], owner="")
        return self._tries[entry]

    def claim(self, limit: int, seconds: float, longest_seconds: float) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands, and lease them."""
        with self._lock:
            now = self._now()
            latest = now + timedelta(seconds=longest_seconds)
            too_long = sorted(
                (ends, *each) for each, ends in self._waiting.items() if ends > latest
            )
            entries = (self._over(now) + [each[1:] for each in too_long])[:limit]
            for entry in entries:
                if entry in self._tries:
                    self._disown(entry)
                self._waiting[entry] = now + timedelta(seconds=seconds)
            return by_job(entries)

    def _over(self, now: datetime) -> list[_Entry]:
        over = sorted((ends, *entry) for entry, ends in self._waiting.items() if ends <= now)
        return [(job_id, document_id) for _, job_id, document_id in over]

    def _is_in_hands(self, entry: _Entry, now: datetime) -> bool:
        tries = self._tries.get(entry)
        return tries is not None and tries.owner != "" and self._waiting[entry] > now

    def dead_letters(self, limit: int, after: str = "") -> DeadLetters:
        """Return the dead letters after a document id, in order."""
        with self._lock:
            ids = sorted(each for each in self._deaths if each > after)
            return DeadLetters(
                total=len(self._deaths),
                dead_letters=[self._deaths[each] for each in ids[:limit]],
                next_cursor=ids[limit - 1] if len(ids) > limit else None,
            )

    def replay(self, document_ids: Sequence[str], limit: int) -> tuple[Job, Sequence[str]] | None:
        """Accept dead documents anew in a job, all (up to a limit) if none is named."""
        with self._lock:
            chosen = self._chosen(document_ids, limit)
            for each in chosen:
                del self._deaths[each]
            if not chosen:
                return None
            job = Job(
                id=uuid.uuid4().hex,
                state=JobState.ACCEPTED,
                accepted_at=self._now(),
                documents=len(chosen),
            )
            self._jobs[job.id] = job
            self._waiting.update({(job.id, each): NO_LEASE for each in chosen})
            return job, chosen

    def purge(self, document_ids: Sequence[str]) -> int:
        """Forget dead letters, all if none is named; return how many."""
        with self._lock:
            chosen = self._chosen(document_ids, len(self._deaths))
            for each in chosen:
                del self._deaths[each]
            return len(chosen)

    def _chosen(self, document_ids: Sequence[str], limit: int) -> list[str]:
        if document_ids:
            return [each for each in dict.fromkeys(document_ids) if each in self._deaths]
        return sorted(self._deaths)[:limit]

    def _bury(self, job_id: str, document_id: str, reason: str, tries: int) -> None:
        self._deaths[document_id] = DeadLetter(
            document_id=document_id,
            job_id=job_id,
            reason=reason,
            tries=tries,
            failed_at=self._now(),
        )

    def _is_there(self, document_id: str) -> bool:
        raise NotImplementedError

    def finish_document(
        self, job_id: str, document_id: str, *, labels: int = 0, error: str | None = None
    ) -> None:
        """Count a waiting document as done or failed, once."""
        raise NotImplementedError


def by_job(entries: Iterable[_Entry]) -> dict[str, list[str]]:
    """Return job id -> document ids, in the order of the entries."""
    jobs: dict[str, list[str]] = {}
    for job_id, document_id in entries:
        jobs.setdefault(job_id, []).append(document_id)
    return jobs
