"""The part of the store in Redis that knows who works on what, and what was given up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import orjson
import redis

from shared.contracts.augmentation import DeadLetter, DeadLetters, Job
from shared.errors import NotFound
from shared.store import records, work_scripts
from shared.store.protocols import MAX_TRIES, UNKNOWN_DEATH, Taken

_PAGE = 1_000


class RedisWork:
    """Who has which documents in hands, and how often they were tried.

    Args:
        client: decodes responses.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._take = client.register_script(work_scripts.TAKE)
        self._renew = client.register_script(work_scripts.RENEW)
        self._hand_back = client.register_script(work_scripts.HAND_BACK)
        self._blame = client.register_script(work_scripts.BLAME)
        self._claim = client.register_script(work_scripts.CLAIM)
        self._dead_letters = client.register_script(work_scripts.DEAD_LETTERS)
        self._replay = client.register_script(work_scripts.REPLAY)
        self._purge = client.register_script(work_scripts.PURGE)

    def take(self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float) -> Taken:
        """Take in hands what waits and is in no other's, and count the try."""
        head: list[str | int] = [
            job_id,
            _microseconds(seconds),
            owner,
            MAX_TRIES,
            UNKNOWN_DEATH,
        ]
        with self._asking():
            taken, apart = self._take(args=[*head, *document_ids])
        return Taken(taken, apart)

    def renew(self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float) -> None:
        """Keep what is still the owner's in its hands for that long from now."""
        with self._asking():
            self._renew(args=[job_id, _microseconds(seconds), owner, *document_ids])

    def hand_back(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float
    ) -> None:
        """Let go of what is still the owner's; its try does not count."""
        with self._asking():
            self._hand_back(args=[job_id, _microseconds(seconds), owner, *document_ids])

    def blame(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float, reason: str
    ) -> Sequence[str]:
        """Let go of what is still the owner's, whose try failed; return what may be tried again."""
        head: list[str | int] = [job_id, _microseconds(seconds), owner, MAX_TRIES, reason]
        with self._asking():
            left: list[str] = self._blame(args=[*head, *document_ids])
        return left

    def claim(self, limit: int, seconds: float, longest_seconds: float) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands, and lease them."""
        head = [limit, _microseconds(seconds), _microseconds(longest_seconds)]
        with self._asking():
            return by_job(self._claim(args=head))

    def dead_letters(self, limit: int, after: str = "") -> DeadLetters:
        """Return the dead letters after a document id, in order."""
        with self._asking():
            total, *flat = self._dead_letters(args=[after, limit + 1])
        found = [_dead_letter(*each) for each in zip(flat[::2], flat[1::2], strict=True)]
        return DeadLetters(
            total=total,
            dead_letters=found[:limit],
            next_cursor=found[limit - 1].document_id if len(found) > limit else None,
        )

    def replay(self, document_ids: Sequence[str], limit: int) -> tuple[Job, Sequence[str]] | None:
        """Accept dead documents anew in a job, all (up to a limit) if none is named."""
        job_id = uuid.uuid4().hex
        with self._asking():
            accepted = self._replay(args=[job_id, limit, *document_ids])
        try:
            # A call that was repeated has accepted before; the sweeper queues what it cannot name.
            return self.job(job_id), accepted
        except NotFound:
            return None

    def purge(self, document_ids: Sequence[str]) -> int:
        """Forget dead letters, all if none is named; return how many."""
        purged = 0
        while True:
            with self._asking():
                some = int(self._purge(args=[_PAGE, *document_ids]))
            purged += some
            if document_ids or some < _PAGE:
                return purged

    def _asking(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        raise NotImplementedError


def by_job(entries: Iterable[str]) -> dict[str, list[str]]:
    """Return job id -> document ids of entries, in their order."""
    jobs: dict[str, list[str]] = {}
    for entry in entries:
        job_id, _, document_id = entry.partition("/")
        jobs.setdefault(job_id, []).append(document_id)
    return jobs


def _microseconds(seconds: float) -> int:
    return int(seconds * 1e6)


def _dead_letter(document_id: str, body: str) -> DeadLetter:
    kept = orjson.loads(body)
    return DeadLetter(
        document_id=document_id,
        job_id=kept["job_id"],
        reason=kept["reason"],
        tries=int(kept["tries"]),
        failed_at=records.time_of(kept["failed_at"]),
    )
