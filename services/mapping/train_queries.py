"""The train queries of a service: the index in memory, its files, and a journal of what changed since."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import structlog

from services.mapping.index_files import (
    IndexManifest,
    load_index,
    next_version,
    read_manifest,
    save_index,
)
from services.mapping.journal import Journal, Past, Record, RecordHead
from services.mapping.train_query_checks import by_id, check_split
from services.mapping.train_query_index import TrainQueryIndex
from shared.contracts.mapping import TrainQueriesChanged, TrainQueryChanges
from shared.dataset import Query
from shared.encoder import TextEncoder
from shared.errors import Conflict, Damaged

_log = structlog.get_logger()


@dataclass(frozen=True)
class Upkeep:
    """When the graph is built anew, and how much is remembered."""

    recent: int = 10_000
    """Train queries put since it was built: these are compared one by one."""
    deleted_share: float = 0.2
    """Of all positions: these are searched for nothing."""
    history: int = 100_000
    """Ids whose change is told to those who ask what changed."""


class TrainQueries:
    """Changes the train queries durably. Safe to call from several threads; changes happen one by one.

    A change is on disk before it is visible, and visible when the call returns.

    Args:
        folder: of the index.
        index: as its files and its journal have it.
        encoder: of the index.
        manifest: of the files.
        upkeep: see there.
        history: what the journal told, oldest first.
        complete_since: the version that the history reaches back to.
        policy: what mapped last.
    """

    def __init__(
        self,
        folder: Path,
        index: TrainQueryIndex,
        encoder: TextEncoder,
        manifest: IndexManifest,
        upkeep: Upkeep,
        history: Iterable[Past],
        complete_since: int,
        policy: str,
    ) -> None:
        self.index = index
        self._folder, self._encoder, self._upkeep = folder, encoder, upkeep
        self._journal = Journal(folder / manifest.journal)
        self._history = list(history)
        self._complete_since, self._policy = complete_since, policy
        self._manifest, self._is_retired = manifest, False
        self._changing = threading.Lock()
        self._compacting = threading.Lock()

    @classmethod
    def load(
        cls,
        folder: Path,
        encoder: TextEncoder,
        *,
        ef: int | None = None,
        upkeep: Upkeep | None = None,
        is_owner: bool = True,
    ) -> Self:
        """Verify and load the index, and replay its journal.

        Args:
            folder: of the index.
            encoder: the one it was built with.
            ef: neighbours kept while searching, at least.
            upkeep: see there.
            is_owner: whether this process is the one that changes it: only then may it mend the journal.

        Raises:
            NotFound, Damaged, Conflict: as `load_index`, and for the journal.
        """
        manifest = read_manifest(folder)
        if manifest.has_journal and not (folder / manifest.journal).is_file():
            raise Damaged(
                f"{folder / manifest.journal}: missing, though it was written with the index; restore it, "
                "or run `skim mapping build` and put later changes again"
            )
        index = load_index(folder, encoder=encoder.name, dimensions=encoder.dimensions, ef=ef)
        history: list[Past] = []
        complete_since, policy = manifest.version, manifest.policy
        for record in Journal(folder / manifest.journal).read(encoder.dimensions, mends=is_owner):
            head = record.head
            if head.past or not (head.put or head.delete or head.policy is not None):
                history, complete_since = list(head.past), head.version
            elif head.policy is not None:
                history, complete_since, policy = [], head.version, head.policy
                index.touch(head.version)
            else:
                history.append(_past_of(index, record))
                _apply(index, record)
        return cls(
            folder,
            index,
            encoder,
            manifest,
            upkeep or Upkeep(),
            history,
            complete_since,
            policy,
        )

    def put(self, queries: Sequence[Query]) -> TrainQueriesChanged:
        """Add train queries, or give known ids another text.

        Raises:
            InvalidInput: one is not of the train split, or an id occurs with two texts; nothing has changed then.
        """
        check_split(queries)
        wanted = by_id(queries)
        known = {query_id: self.index.get(query_id) for query_id in wanted}
        # Encoded before the lock: others may change meanwhile, and what they changed is compared again.
        texts = [each.text for each in wanted.values() if _differs(known[each.id], each)]
        vector_of = dict(zip(texts, self._encoder.encode(texts), strict=True))
        with self._changing:
            known = {query_id: self.index.get(query_id) for query_id in wanted}
            changed = [
                Query(id=each.id, text=each.text)
                for each in wanted.values()
                if _differs(known[each.id], each)
            ]
            for each in changed:
                if each.text not in vector_of:
                    vector_of[each.text] = self._encoder.encode([each.text])[0]
            if changed:
                vectors = np.stack([vector_of[each.text] for each in changed])
                self._write(Record(RecordHead(version=self._next(), put=changed), vectors))
            added = sum(known[each.id] is None for each in changed)
            return TrainQueriesChanged(
                version=self.index.version,
                train_queries=len(self.index),
                added=added,
                changed=len(changed) - added,
                unchanged=len(wanted) - len(changed),
            )

    def delete(self, query_ids: Sequence[str]) -> TrainQueriesChanged:
        """Take train queries out; ids that are not there are counted."""
        with self._changing:
            wanted = list(dict.fromkeys(query_ids))
            there = [each for each in wanted if self.index.get(each) is not None]
            if there:
                self._write(Record(RecordHead(version=self._next(), delete=there)))
            return TrainQueriesChanged(
                version=self.index.version,
                train_queries=len(self.index),
                removed=len(there),
                unknown=len(wanted) - len(there),
            )

    def note_policy(self, policy: str) -> None:
        """Record what maps from now on; another one than before makes all that was mapped outdated."""
        with self._changing:
            if policy == self._policy:
                return
            version = self._next()
            self._check_owner()
            self._journal.append(Record(RecordHead(version=version, policy=policy)))
            self._history, self._complete_since, self._policy = [], version, policy
            self.index.touch(version)

    def changes(self, since: int) -> TrainQueryChanges:
        """Return what changed after a version."""
        with self._changing:
            version, policy = self.index.version, self._policy
            later = [each for each in self._history if each.version > since]
            is_complete = self._complete_since <= since <= version
        if not is_complete:
            return TrainQueryChanges(version=version, policy=policy, is_complete=False)
        added: dict[str, None] = {}
        removed: dict[str, None] = {}
        for change in later:
            for query_id in change.removed:
                removed[query_id] = None
                added.pop(query_id, None)
            added.update(dict.fromkeys(change.added))
        return TrainQueryChanges(
            version=version,
            policy=policy,
            is_complete=True,
            added=list(added),
            removed=list(removed),
        )

    def retire(self, *, is_retired: bool = True) -> None:
        """Change nothing on disk from now on, since another owner of the folder is being loaded; or change it again."""
        with self._changing:
            self._is_retired = is_retired

    def _check_owner(self) -> None:
        """Raise `Conflict` if the folder holds another index than this one: what is written would be lost."""
        if self._is_retired or read_manifest(self._folder) != self._manifest:
            raise Conflict(
                f"{self._folder}: the index was replaced; nothing was changed. Reload it and try again"
            )

    @property
    def needs_compaction(self) -> bool:
        """Say whether so much changed that the graph is worth building anew."""
        recent, deleted = self.index.changed
        return recent > self._upkeep.recent or deleted > self._upkeep.deleted_share

    def compact(self) -> None:
        """Build the graph anew of the train queries there are, beside searches and changes.

        Killed at any point, the folder holds the old index with its journal, or the new one with the changes since.
        """
        if not self._compacting.acquire(blocking=False):
            return  # one is under way
        try:
            if not len(self.index):
                return
            with self._changing:
                size, rebuild = self._journal.size, self.index.rebuilder()
            fresh = rebuild()
            with self._changing:
                self._take(fresh, size)
            _log.info("train_queries_compacted", train_queries=len(fresh))
        finally:
            self._compacting.release()

    def _take(self, fresh: TrainQueryIndex, size: int) -> None:
        """Write a new index with what changed since its journal had that size, and search it."""
        self._check_owner()
        since = self._journal.tail(size)
        scratch = Journal(self._folder / ".new-journal.bin")
        (self._folder / ".new-journal.bin").unlink(missing_ok=True)
        later = [each for each in self._history if each.version > fresh.version]
        past = self._history[: len(self._history) - len(later)]
        complete_since = self._complete_since if self._complete_since <= fresh.version else None
        if complete_since is not None:
            scratch.append(Record(RecordHead(version=complete_since, past=past)))
        scratch.extend(since)
        records = list(scratch.read(self._encoder.dimensions))
        manifest = save_index(
            fresh, self._folder, policy=self._policy, ef=fresh.ef, journal=scratch.tail(0)
        )
        (self._folder / ".new-journal.bin").unlink()
        for record in records:
            if record.head.put or record.head.delete:
                _apply(fresh, record)
            elif record.head.policy is not None:
                fresh.touch(record.head.version)
        self._manifest, self._journal = manifest, Journal(self._folder / manifest.journal)
        self.index.become(fresh)

    def _next(self) -> int:
        return next_version(self.index.version)

    def _write(self, record: Record) -> None:
        self._check_owner()
        self._journal.append(record)
        self._history.append(_past_of(self.index, record))
        _apply(self.index, record)
        total = sum(len(each.added) + len(each.removed) for each in self._history)
        while total > self._upkeep.history and len(self._history) > 1:
            oldest = self._history.pop(0)
            self._complete_since = oldest.version
            total -= len(oldest.added) + len(oldest.removed)


def _differs(known: Query | None, wanted: Query) -> bool:
    return known is None or known.text != wanted.text


def _past_of(index: TrainQueryIndex, record: Record) -> Past:
    """Return what a record changes, before it is applied."""
    known = [query.id for query in record.head.put if index.get(query.id) is not None]
    return Past(
        version=record.head.version,
        added=[query.id for query in record.head.put],
        removed=[*known, *record.head.delete],
    )


def _apply(index: TrainQueryIndex, record: Record) -> None:
    head = record.head
    if head.put:
        index.put(head.put, record.vectors, version=head.version)
    if head.delete:
        index.delete(head.delete, version=head.version)
