"""Keeps labels current: what changes in the mapping service reaches documents that have labels already.

Nothing is missed, whatever runs at the same time and wherever a process dies:

- The store holds the version and policy that labels have followed. Both move in the step that begins the
  remap they take, so a remap is never lost, and one begun is completed page by page by whoever follows next.
- A document that was written before that step has a revision when the remap comes to its page, and is mapped
  by an index at least as new. One that is written after it, by a worker that mapped before, is noted by the
  store as behind, in the step that writes it, and is remapped later. There is no third case.
- A document that was mapped ahead of what is followed is noted as well: a train query that came and went
  between two looks is in no list of changes.
- Removed train queries lose their labels before that step. A worker that still has them cannot write them:
  the store remembers them with the version that is without them. Documents that lost a label are behind, for
  the neighbours it displaced.
- Every step may be repeated. Labels of one document change in one step, so that readers see old or new ones.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from services.augmentation.dispatcher import Dispatcher
from shared.contracts.augmentation import JobState
from shared.contracts.mapping import MappingInfo, TrainQueryChanges
from shared.errors import NotFound
from shared.store import MAX_AMONG, Followed, Remap, Store

_PAGE = 500
"""Documents accepted in one step of the store."""
_UNDER_WAY = {JobState.ACCEPTED, JobState.RUNNING}
_log = structlog.get_logger()


class Changes(Protocol):
    """The mapping service, and what changed in it."""

    def info(self) -> MappingInfo:
        """Say what it maps with."""

    def changes(self, since: int) -> TrainQueryChanges:
        """Return the train queries added and removed after a version."""


class Follower:
    """Brings labels to the state of the mapping service, a bit at a time.

    Args:
        store: holds labels, and how far they are.
        mapping: asked what changed.
        dispatcher: takes remaps to the workers.
        window: documents of one remap that wait at a time, at most.
    """

    def __init__(
        self, store: Store, mapping: Changes, dispatcher: Dispatcher, *, window: int
    ) -> None:
        self._store = store
        self._mapping = mapping
        self._dispatcher = dispatcher
        self._window = window
        self._removed_to: int | None = None
        self._behind_job: str | None = None

    def follow(self) -> None:
        """Look once, and do what can be done now; to be called again and again.

        Raises:
            Unavailable: the store, the queue or the mapping service does not answer.
        """
        self._accept()
        followed = self._store.followed()
        if followed is None:
            self._begin()
        else:
            self._go_on(followed, self._mapping.changes(followed.version))
        self._accept()

    def _begin(self) -> None:
        """Follow for the first time: whatever labels there are, nobody knows what they were mapped to."""
        info = self._mapping.info()
        self._store.follow(None, info.index_version, info.policy, Remap())
        _log.info("following_begins", version=info.index_version, policy=info.policy)

    def _go_on(self, followed: Followed, changes: TrainQueryChanges) -> None:
        is_back = changes.version < followed.version
        if changes.removed and not is_back and self._removed_to != changes.version:
            labels = self._store.remove_labels_of(changes.removed, changes.version)
            _log.info("labels_removed", train_queries=len(changes.removed), labels=labels)
            self._removed_to = changes.version
        if (changes.version, changes.policy) == (followed.version, followed.policy):
            self._remap_behind()
        elif is_back or not self._is_under_way(followed.job_id):  # else changes gather meanwhile
            remap = _remap_for(followed, changes)
            self._store.follow(followed, changes.version, changes.policy, remap)
            among = None if remap is None else len(remap.among) or "all"
            _log.info("followed", version=changes.version, policy=changes.policy, among=among)

    def _accept(self) -> None:
        """Let remaps accept documents until enough of them wait."""
        for job_id in self._store.opening():
            job = self._store.job(job_id)
            free = self._window - (job.documents - job.done - job.failed)
            while free > 0:
                page = self._store.accept_page(job_id, min(_PAGE, free))
                self._dispatcher.dispatch(job_id, page.document_ids)
                free -= len(page.document_ids)
                if page.is_last:
                    break

    def _remap_behind(self) -> None:
        if self._is_under_way(self._behind_job):
            return
        found = self._store.remap_behind(min(_PAGE, self._window))
        if found is not None:
            self._behind_job, document_ids = found
            self._dispatcher.dispatch(self._behind_job, document_ids)
            _log.info("documents_behind", documents=len(document_ids))

    def _is_under_way(self, job_id: str | None) -> bool:
        if job_id is None:
            return False
        try:
            return self._store.job(job_id).state in _UNDER_WAY
        except NotFound:
            return False


def _remap_for(followed: Followed, changes: TrainQueryChanges) -> Remap | None:
    """Return the remap that changes take.

    Past `MAX_AMONG` everything is mapped anew: most of a mapping's time goes into encoding a document's
    synthetic queries, once for each list of train queries, and once for all of them.
    """
    is_same = (
        changes.is_complete
        and changes.policy == followed.policy
        and changes.version >= followed.version
    )
    if not is_same or len(changes.added) > MAX_AMONG:
        return Remap()
    return Remap(tuple(changes.added)) if changes.added else None
