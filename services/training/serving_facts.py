"""What a bundle tells serving beside vectors: scores as probabilities, canaries, what taught each ad, how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.training.embeddings import CachedEncoder
from services.training.labels import Pairs
from services.training.score_calibration import calibrate
from services.training.train import embed_queries
from shared.ad_index import flat_index
from shared.bundle_facts import Canary, Lessons, ScoreCalibration, TaughtQuery
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query

_CANARIES, _ADS_OF_A_CANARY, _ASKED = 20, 10, 200
_MOST_LESSONS = 30
"""Of each kind, kept of an ad."""


@dataclass(frozen=True)
class ServingFacts:
    """See `shared/bundle_facts.py`."""

    calibration: ScoreCalibration | None
    canaries: Sequence[Canary]
    lessons: Sequence[Lessons]
    asked: NDArray[np.float32]
    """(queries, dimensions) float32: some queries of the log, to choose the index with."""


def serving_facts(
    vectors: NDArray[np.float32],
    dataset: Dataset,
    labels: Pairs,
    written: Sequence[SyntheticQueries],
    encoder: CachedEncoder,
) -> ServingFacts:
    """Return the facts of a model; test queries are never looked at.

    Args:
        vectors: (documents, dimensions) float32 of the model.
        dataset: that it was trained on.
        labels: that it was trained on.
        written: synthetic queries that it was trained on.
        encoder: of the queries.
    """
    some = [*dataset.queries_of("validation"), *dataset.queries_of("train")]
    some = list({query.text: query for query in some}.values())[:_ASKED]
    asked = embed_queries(some, encoder)
    return ServingFacts(
        calibrate(vectors, dataset, encoder),
        _canaries(vectors, dataset, some[:_CANARIES], asked[:_CANARIES]),
        lessons_of(dataset, labels, written),
        asked,
    )


def lessons_of(
    dataset: Dataset, labels: Pairs, written: Sequence[SyntheticQueries]
) -> list[Lessons]:
    """Return what taught each document: clicks and labels of train queries, and its synthetic queries."""
    train = dataset.queries_of("train")
    clicks = _by_document(train, dataset.clicks)
    known = _by_document(train, labels)
    queries: dict[str, dict[str, None]] = {}
    for row in written:
        queries.setdefault(row.document_id, {}).update(dict.fromkeys(row.queries))
    lessons = []
    for document in dataset.documents:
        clicked, own = clicks.get(document.id, []), list(queries.get(document.id, {}))
        added = known.get(document.id, [])
        lessons.append(
            Lessons(
                clicks=[TaughtQuery(query=text, count=n) for n, text in clicked[:_MOST_LESSONS]],
                labels=[
                    TaughtQuery(query=text, similarity=n) for n, text in added[:_MOST_LESSONS]
                ],
                synthetic_queries=own[:_MOST_LESSONS],
                totals=(len(clicked), len(added), len(own)),
            )
        )
    return lessons


def _by_document(queries: Sequence[Query], pairs: Pairs) -> Mapping[str, list[tuple[float, str]]]:
    """Return document id -> (value, query) pairs, the largest value first."""
    found: dict[str, list[tuple[float, str]]] = {}
    for query in queries:
        for document_id, value in pairs.get(query.id, {}).items():
            found.setdefault(document_id, []).append((value, query.text))
    for row in found.values():
        row.sort(key=lambda pair: (-pair[0], pair[1]))
    return found


def _canaries(
    vectors: NDArray[np.float32],
    dataset: Dataset,
    queries: Sequence[Query],
    asked: NDArray[np.float32],
) -> list[Canary]:
    if not queries:
        return []
    _, positions = flat_index(vectors).search(asked, _ADS_OF_A_CANARY)
    return [
        Canary(query=query.text, ads=[dataset.documents[place].id for place in row])
        for query, row in zip(queries, positions.tolist(), strict=True)
    ]
