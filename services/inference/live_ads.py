"""The ads that are served: a generation, and a journal of what changed since, which outlives generations and restarts.

A change is on disk before it is visible, and visible when the call returns. What was changed here is true whatever bundles
say: a deleted ad comes back only if it is put again, and an ad that was put stays when a bundle without it is served. Bundles
give vectors: an ad is found by its trained vector as soon as the served bundle has one of its title and text.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from services.inference.ad_journal import AdJournal
from services.inference.catalogue import Catalogue, Entry
from services.inference.generation import Generation, Read
from services.inference.patching import patched
from services.inference.view import View
from shared.contracts.inference import Ad, AdPatch, AdsChanged
from shared.errors import InvalidInput, Unavailable

_ENCODED_UNDER_LOCK = 16
"""Ads that may be encoded while changes wait for a switch."""
_Vectors = dict[tuple[str, Read], NDArray[np.float32]]
"""What made a vector, and of which texts -> the vector."""
_log = structlog.get_logger()


@dataclass(frozen=True)
class Upkeep:
    """When vectors get an index and files are written anew."""

    recent: int = 2_048
    """Ads with vectors of their own that are compared one by one."""
    dead: int = 10_000
    """Positions behind the bundle's that are searched for nothing."""
    journal_bytes: int = 16_000_000
    """By which the journal may outgrow twice its content."""


@dataclass
class _Plan:
    """What a change comes to, seen from one state of the ads."""

    puts: dict[str, Ad] = field(default_factory=dict)
    deletes: dict[str, str] = field(default_factory=dict)
    """Ad id -> content hash of what is deleted."""
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


class LiveAds:
    """Changes ads durably beside searches. Safe to call from several threads; changes happen one by one.

    Args:
        folder: of the journal; made if it is missing.
        upkeep: see there.

    Raises:
        Damaged: the journal is not what was written.
    """

    def __init__(self, folder: Path, upkeep: Upkeep | None = None) -> None:
        self._upkeep = upkeep or Upkeep()
        self._changing = threading.Lock()
        self._keeping_up = threading.Lock()
        self._folder = folder
        self._lock_file: int | None = None
        self._journal = AdJournal(folder)
        self._catalogue: Catalogue | None = None
        self._refusal = ""
        self._entries: dict[str, Entry] = {}
        self._version, self._written = 0, 0
        self._read_again()

    @property
    def view(self) -> View | None:
        """Return the ads as they are now; None before anything is served."""
        catalogue = self._catalogue
        return None if catalogue is None else catalogue.view

    def close(self) -> None:
        """Let another process change the ads, once a change under way is done."""
        with self._changing:
            self._refusal = f"{self._folder}: the ads were closed"
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def serve(self, generation: Generation) -> View:
        """Answer from a generation with every change there is, at once; changes go on meanwhile.

        Ads whose vectors another encoder made, or that a former bundle had trained ones of, are encoded first.
        """
        with self._keeping_up:
            with self._changing:
                if self._refusal:
                    self._read_again()
                entries, version = dict(self._entries), self._version
            known = dict(entries)
            self._encode(generation, known)
            catalogue = Catalogue(generation, known, version=version, recent=self._upkeep.recent)
            while len(later := self._later(version)) > _ENCODED_UNDER_LOCK:
                version = max(each.version for each in later.values())
                self._encode(generation, later)
                catalogue.apply(later, version)
                known |= later
            with self._changing:
                later = self._later_of(self._entries, version)
                self._encode(generation, later)
                catalogue.apply(later, self._version)
                known |= later
                self._entries, self._catalogue = known, catalogue
            return catalogue.view

    def put(self, ads: Sequence[Ad], *, unless_deleted: bool = False) -> AdsChanged:
        """Add ads, or give known ids another content.

        Args:
            ads: each id once.
            unless_deleted: leave out an ad that was deleted with this very content: who repeats what was said
                before the deletion does not undo it.

        Raises:
            InvalidInput: an id occurs twice; nothing has changed then.
            Unavailable: it could not be written, or another process changes these ads; nothing has changed.
        """
        _check_once([ad.id for ad in ads])

        def _plan() -> _Plan:
            plan = _Plan()
            for ad in ads:
                if unless_deleted and _is_deleted(self._entries.get(ad.id), ad.content_hash):
                    plan.count("refused")
                else:
                    self._plan_put(plan, ad)
            return plan

        return self._change(_plan)

    def patch(self, patches: Sequence[AdPatch]) -> AdsChanged:
        """Change parts of ads; ids that are not there are counted. Raises as `put`, and for a part that is not valid."""
        _check_once([patch.id for patch in patches])

        def _plan() -> _Plan:
            plan = _Plan()
            for patch in patches:
                known = self._ad(patch.id)
                if known is None:
                    plan.count("unknown")
                elif (changed := patched(known, patch)).content_hash == known.content_hash:
                    plan.count("unchanged")
                else:
                    self._plan_put(plan, changed)
            return plan

        return self._change(_plan)

    def delete(self, ad_ids: Sequence[str]) -> AdsChanged:
        """Take ads out, of all bundles to come and gone as well; ids that are not there are counted, and noted."""

        def _plan() -> _Plan:
            plan = _Plan()
            for ad_id in dict.fromkeys(ad_ids):
                known, entry = self._ad(ad_id), self._entries.get(ad_id)
                plan.count("unknown" if known is None else "removed")
                if known is not None or entry is None:
                    plan.deletes[ad_id] = "" if known is None else known.content_hash
            return plan

        return self._change(_plan)

    def document(self, ad_id: str) -> tuple[View, int] | None:
        """Return a view and where it has an ad, None if there is none."""
        with self._changing:
            catalogue = self._serving()
            position = catalogue.position(ad_id)
            return None if position is None else (catalogue.view, position)

    @property
    def needs_upkeep(self) -> bool:
        """Say whether `keep_up` has something to do."""
        return self._needs_index or self._needs_rewriting

    def keep_up(self) -> None:
        """Give recent ads an index and drop what is outdated, in memory and on disk, beside searches and changes."""
        if self._needs_index and self._catalogue is not None:
            self.serve(self._catalogue.generation)
        if self._needs_rewriting:
            self.compact()

    def compact(self) -> int:
        """Write the journal anew, without what is outdated; return its bytes."""
        with self._keeping_up:
            with self._changing:
                self._check_owner()
                rewriter = self._journal.rewriter(dict(self._entries))
            rewriter.write()
            with self._changing:
                self._check_owner()
                rewriter.replace()
                self._written = self._journal.size
                written = self._written
            _log.info("ads_compacted", bytes=written)
            return written

    @property
    def changed(self) -> tuple[int, int]:
        """Return how many ads are not as the bundle has them, and how many of these have a cold-start vector."""
        with self._changing:
            own = self._serving().own
            return len(own), sum(self._entries[ad_id].vector is not None for ad_id in own)

    @property
    def _needs_index(self) -> bool:
        if self._catalogue is None:
            return False
        recent, dead = self._catalogue.waste
        return recent > self._upkeep.recent or dead > self._upkeep.dead

    @property
    def _needs_rewriting(self) -> bool:
        return not self._refusal and (
            self._journal.size > 2 * self._written + self._upkeep.journal_bytes
        )

    def _change(self, make: Callable[[], _Plan]) -> AdsChanged:
        # Encoded before the lock: others may change meanwhile, and what they changed is planned again.
        vectors: _Vectors = {}
        with self._changing:
            plan, catalogue = make(), self._catalogue
        _encode_new(catalogue, plan.puts.values(), vectors)
        with self._changing:
            self._check_owner()
            plan, catalogue = make(), self._catalogue
            _encode_new(catalogue, plan.puts.values(), vectors)
            if plan.puts or plan.deletes:
                self._write(catalogue, plan, vectors)
            return AdsChanged(
                ads_version=self._version,
                ads=0 if catalogue is None else catalogue.view.live,
                **plan.counts,
            )

    def _plan_put(self, plan: _Plan, ad: Ad) -> None:
        known, entry = self._ad(ad.id), self._entries.get(ad.id)
        ad = ad.knowing(known)
        if known is None:
            plan.count("added")
        elif known.content_hash != ad.content_hash:
            plan.count("changed")
        else:
            is_noted = entry is not None and known.synthetic_queries == ad.synthetic_queries
            plan.count("unchanged" if is_noted or self._is_trained(ad) else "changed")
            if is_noted:
                return
        # Also an ad that the bundle has like this: a bundle without it may follow.
        plan.puts[ad.id] = ad

    def _ad(self, ad_id: str) -> Ad | None:
        """Return an ad as it is now; before anything is served, as it was put."""
        entry = self._entries.get(ad_id)
        if entry is not None:
            return None if entry.row is None else Ad.model_validate_json(entry.row)
        return None if self._catalogue is None else self._catalogue.ad(ad_id)

    def _is_trained(self, ad: Ad) -> bool:
        return self._catalogue is not None and self._catalogue.generation.trained(ad) is not None

    def _write(self, catalogue: Catalogue | None, plan: _Plan, vectors: _Vectors) -> None:
        # Microseconds since 1970, always above the one before: it grows too where a folder is lost.
        version = max(self._version + 1, time.time_ns() // 1_000)
        generation = None if catalogue is None else catalogue.generation
        entries = {ad_id: Entry(version, each, None) for ad_id, each in plan.deletes.items()}
        for ad_id, ad in plan.puts.items():
            entry = Entry(version, ad.content_hash, ad.row)
            if generation is not None and generation.trained(ad) is None:
                recipe = generation.recipe
                vector = vectors[recipe, generation.reads(ad)]
                entry = replace(entry, vector=vector, recipe=recipe)
            entries[ad_id] = entry
        self._journal.append(entries)
        self._entries.update(entries)
        self._version = version
        if catalogue is not None:  # else the first bundle that is served gives them vectors
            catalogue.apply(entries, version)

    def _later(self, version: int) -> dict[str, Entry]:
        with self._changing:
            return self._later_of(self._entries, version)

    @staticmethod
    def _later_of(entries: Mapping[str, Entry], version: int) -> dict[str, Entry]:
        return {ad_id: each for ad_id, each in entries.items() if each.version > version}

    @staticmethod
    def _encode(generation: Generation, entries: dict[str, Entry]) -> None:
        """Give each ad the vector that this generation needs it to have, or none."""
        for ad_id, entry in entries.items():
            if entry.row is None:
                continue
            is_of_recipe = entry.vector is not None and entry.recipe == generation.recipe
            if ad_id not in generation.positions and is_of_recipe:
                continue
            if entry.vector is None and generation.is_as_published(ad_id, entry.row):
                continue
            ad = Ad.model_validate_json(entry.row)
            if generation.trained(ad) is not None:
                entries[ad_id] = replace(entry, vector=None, recipe="")
            elif not is_of_recipe:
                vector = generation.start(generation.reads(ad))
                entries[ad_id] = replace(entry, vector=vector, recipe=generation.recipe)

    def _read_again(self) -> None:
        """Take the folder if nobody has it, and read what the journal says."""
        self._refusal = self._own()
        self._entries = self._journal.read(mends=not self._refusal)
        self._version = max((each.version for each in self._entries.values()), default=0)
        self._written = self._journal.size

    def _serving(self) -> Catalogue:
        if self._catalogue is None:
            raise Unavailable("nothing is served, so that no ad can be changed")
        return self._catalogue

    def _own(self) -> str:
        """Take the folder for this process; return why it cannot be changed from here, or nothing."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            return f"{self._folder}: cannot be written ({error.strerror})"
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock_file)
            self._lock_file = None
            return f"{self._folder}: another process changes these ads"
        return ""

    def _check_owner(self) -> None:
        if self._refusal:
            raise Unavailable(f"{self._refusal}; nothing was changed")


def _is_deleted(entry: Entry | None, content_hash: str) -> bool:
    return entry is not None and entry.row is None and entry.content_hash == content_hash


def _encode_new(catalogue: Catalogue | None, ads: Iterable[Ad], vectors: _Vectors) -> None:
    """Add the vectors of ads that no training has seen."""
    if catalogue is None:
        return
    generation = catalogue.generation
    for ad in ads:
        if generation.trained(ad) is None:
            read = generation.reads(ad)
            if (generation.recipe, read) not in vectors:
                vectors[generation.recipe, read] = generation.start(read)


def _check_once(ad_ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for ad_id in ad_ids:
        if ad_id in seen:
            raise InvalidInput(f"ad {ad_id!r} occurs twice")
        seen.add(ad_id)
