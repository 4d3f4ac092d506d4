"""What a bundle tells serving beside vectors: scores as probabilities, canaries, what taught each ad, how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.training.embeddings import CachedEncoder
from services.training.labels import Pairs
from services.training.train import embed_queries
from shared.ad_index import flat_index
from shared.bundle_facts import Canary, Lessons, ScoreCalibration, TaughtQuery
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query

_SHOWN = 100
"""Best ads of a validation query that count as shown."""
_FEWEST_CLICKS, _MOST_QUERIES = 30, 2_000
_CANARIES, _ADS_OF_A_CANARY, _ASKED = 20, 10, 200
_MOST_LESSONS = 30
"""Of each kind, kept of an ad."""
_STEPS = 50


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


def calibrate(
    vectors: NDArray[np.float32], dataset: Dataset, encoder: CachedEncoder
) -> ScoreCalibration | None:
    """Return how probable a click is by an ad's score, fitted on validation clicks; None where they are too few.

    An ad is taken as shown if it is among the hundred best of a query, so this is the probability of a click there.
    """
    queries = [
        query for query in dataset.queries_of("validation") if dataset.clicks.get(query.id)
    ][:_MOST_QUERIES]
    if not queries:
        return None
    scores, positions = flat_index(vectors).search(embed_queries(queries, encoder), _SHOWN)
    ids = np.array([document.id for document in dataset.documents])
    clicked = np.stack(
        [
            np.isin(ids[row], list(dataset.clicks[query.id]))
            for query, row in zip(queries, positions, strict=True)
        ]
    )
    clicks = int(clicked.sum())
    if clicks < _FEWEST_CLICKS:
        return None
    slope, intercept = platt(scores.ravel().astype(np.float64), clicked.ravel())
    if slope <= 0:
        return None
    return ScoreCalibration(slope=slope, intercept=intercept, queries=len(queries), clicks=clicks)


def platt(scores: NDArray[np.float64], clicked: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and intercept of the logistic curve of clicks by score (Platt, 1999, with his targets)."""
    mean, deviation = scores.mean(), scores.std() or 1.0
    positives, negatives = int(clicked.sum()), int((~clicked).sum())
    targets = np.where(clicked, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    features = np.stack([(scores - mean) / deviation, np.ones(len(scores))], axis=1)
    weights = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    for _ in range(_STEPS):
        predicted = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        gradient = features.T @ (predicted - targets)
        hessian = (features * (predicted * (1 - predicted))[:, None]).T @ features
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        weights = weights - np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    slope = weights[0] / deviation
    return float(slope), float(weights[1] - slope * mean)


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
