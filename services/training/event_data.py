"""A data folder and what users did since: clicks on known queries, and new train queries that proved themselves.

A query that any split holds out is never made a train query, nor are its near-duplicates; what users did for it is added
to its own rows, which training does not read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from services.training.event_counts import CLICK, IMPRESSION, Counts, EventCounts, Traffic
from shared.completion import malformation_of
from shared.dataset import Dataset, Query, Split
from shared.plain_text import query_key, signature

_ID_PREFIX = "log-"


@dataclass(frozen=True)
class Admission:
    """When a query of the log becomes a train query."""

    min_clients: int = 3
    """So many clients asked it,"""
    min_days: int = 3
    """or it was asked on so many days (the only proof where events name no client)."""
    most: int = 100_000
    """New ones in all; the most frequent are taken."""
    validation_share: float = 0.0
    """Share of them that is validation: exploration guards training on queries that are held out of it. Near-duplicates
    share a split, and those of train queries are train queries."""


@dataclass(frozen=True)
class Extended:
    """A data set with the log in it, and what became of the log."""

    dataset: Dataset
    new: list[Query]
    """Also at the end of the data set's queries."""
    left_out: Counter[str]
    """Distinct queries of the log that are neither known nor new, by reason."""
    unknown_documents: int
    """Pairs whose document is not in the data set."""


def extend(
    dataset: Dataset,
    counts: EventCounts,
    *,
    held_out: Collection[str] = (),
    admission: Admission | None = None,
) -> Extended:
    """Return the data set with clicks, impressions, exploration and new queries of the log.

    Args:
        dataset: stays as it is.
        counts: of the log.
        held_out: ids of queries that any split holds out; those of the data set's own split are added.
        admission: of new queries.
    """
    held = {*held_out, *(query.id for query in dataset.queries if query.split != "train")}
    known = _ids_by_key(dataset.queries, held)
    held_signatures, train_signatures = (
        {signature(query.text) for query in dataset.queries if (query.id in held) is is_held}
        for is_held in (True, False)
    )
    admission = admission or Admission()
    keys, left_out = _admitted(counts.traffic, known, held_signatures, admission)
    new = [_new_query(key, train_signatures, admission.validation_share) for key in keys]
    ids = known | {query.text: query.id for query in new}
    documents = {document.id for document in dataset.documents}
    clicks, impressions, drawn = counts.pairs(CLICK), counts.pairs(IMPRESSION), counts.drawn()
    unknown = sum(
        document not in documents
        for pairs in (clicks, impressions)
        for row in pairs.values()
        for document in row
    )
    extended = replace(
        dataset,
        queries=[*dataset.queries, *new],
        clicks=_added(dataset.clicks, clicks, ids, documents),
        impressions=_added(dataset.impressions, impressions, ids, documents),
        exploration=_added(dataset.exploration, drawn, ids, documents),
    )
    return Extended(extended, new, left_out, unknown)


def log_query_id(key: str) -> str:
    """Return the id of a query of the log: the same wherever it is made, and no words of it."""
    return _ID_PREFIX + hashlib.blake2b(key.encode(), digest_size=10).hexdigest()


def _ids_by_key(queries: Collection[Query], held: Collection[str]) -> dict[str, str]:
    """Return key -> id; of queries that differ in case only, one that is held out is taken."""
    ids: dict[str, str] = {}
    for query in sorted(queries, key=lambda query: query.id not in held):
        ids.setdefault(query_key(query.text), query.id)
    return ids


def _admitted(
    traffic: Mapping[str, Traffic],
    known: Collection[str],
    held_signatures: Collection[tuple[str, ...]],
    admission: Admission,
) -> tuple[list[str], Counter[str]]:
    left_out: Counter[str] = Counter()
    admitted: list[str] = []
    for key, of_query in traffic.items():
        if key in known:
            continue
        reason = _reason_against(key, of_query, held_signatures, admission)
        if reason is None:
            admitted.append(key)
        else:
            left_out[reason] += 1
    admitted.sort(key=lambda key: (-traffic[key].events, key))
    if surplus := len(admitted) - admission.most:
        left_out["surplus"] += max(surplus, 0)
    return sorted(admitted[: admission.most]), +left_out


def _reason_against(
    key: str,
    traffic: Traffic,
    held_signatures: Collection[tuple[str, ...]],
    admission: Admission,
) -> str | None:
    if len(traffic.clients) < admission.min_clients and len(traffic.days) < admission.min_days:
        return "rare"
    if (
        malformation_of(key) is not None
    ):  # addresses, numbers, markup, stuffing: also what tells of a person
        return "not_plain"
    if signature(key) in held_signatures:
        return "held_out"
    return None


def _new_query(
    key: str, train_signatures: Collection[tuple[str, ...]], validation_share: float
) -> Query:
    """Return a query of the log; its split depends on its words only, so that it is the same in every export."""
    words = signature(key)
    digest = hashlib.blake2b(" ".join(words).encode(), digest_size=4, person=b"split").digest()
    is_drawn = int.from_bytes(digest) < validation_share * 2**32
    split: Split = "validation" if is_drawn and words not in train_signatures else "train"
    return Query(id=log_query_id(key), text=key, split=split)


def _added(
    base: Mapping[str, Mapping[str, float]],
    counts: Counts,
    ids: Mapping[str, str],
    documents: Collection[str],
) -> Counts:
    added = {query_id: dict(row) for query_id, row in base.items()}
    for key, row in counts.items():
        if key not in ids:
            continue
        for document, number in row.items():
            if document in documents:
                of_query = added.setdefault(ids[key], {})
                of_query[document] = of_query.get(document, 0.0) + number
    return added
