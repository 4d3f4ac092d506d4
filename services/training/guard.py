"""How much of the trained classifiers to trust: mixed with the documents' own embeddings.

Training on biased clicks can end below no training at all. The mixing weight is chosen on a few pairs
of validation queries that were exposed uniformly, as one percent of exploration traffic would: clicks
prefer the model that shares their bias. Test queries are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.training.labels import Pairs

if TYPE_CHECKING:
    from shared.dataset import Query

Choice = TypeVar("Choice")
_SCORES_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class GuardSettings:
    """Which mixing weights to try and what they are chosen on."""

    candidates: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    default: float = 0.75
    """Kept with too few exposed pairs, and unless another is better by more than the next setting."""
    standard_errors: float = 2.0
    """Of the paired difference. With 1, a dozen pairs choose at random (things, validation)."""
    fewest_pairs: int = 30
    """Fewer exposed pairs choose nothing: the standard error of so few is itself a guess."""
    slice_share: float = 0.01
    """Share of the validation queries' relevant pairs that count as exposed at random."""
    seed: int = 0


@dataclass(frozen=True)
class ExposedSlice:
    """Pairs known to be relevant, whatever the logging policy would have shown."""

    queries: Sequence[str]
    """(pairs,) texts of validation queries."""
    documents: NDArray[np.int64]
    """(pairs,) positions."""


NOT_EXPOSED = ExposedSlice((), np.empty(0, dtype=np.int64))


def expose(
    queries: Sequence[Query],
    positions: Mapping[str, int],
    truth: Pairs,
    settings: GuardSettings,
) -> ExposedSlice:
    """Draw the slice: the same one for the same data and seed. Empty without truth."""
    pairs = _relevant(queries, positions, truth)
    size = round(settings.slice_share * len(pairs))
    drawn = np.random.default_rng(settings.seed).permutation(len(pairs))[:size]
    return _slice([pairs[number] for number in np.sort(drawn)])


def explored(
    queries: Sequence[Query], positions: Mapping[str, int], exploration: Pairs
) -> ExposedSlice:
    """Return the whole exploration log: what was clicked of documents shown at random."""
    return _slice(_relevant(queries, positions, exploration))


def mix(
    classifiers: NDArray[np.float32], documents: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """Return (1 - weight) x document embedding + weight x classifier, one vector a document.

    The score stays linear in the query's embedding, so serving searches once. Classifiers are scaled
    to a mean length of 1, that of an embedding; among each other they keep their lengths.
    """
    mean_length = np.linalg.norm(classifiers, axis=1).mean()
    mixed: NDArray[np.float32] = (1 - weight) * documents + (weight / mean_length) * classifiers
    return mixed.astype(np.float32)


def choose_weight(
    classifiers: NDArray[np.float32],
    documents: NDArray[np.float32],
    queries: NDArray[np.float32],
    exposed: NDArray[np.int64],
    settings: GuardSettings,
) -> float:
    """Return the mixing weight under which the exposed documents rank best.

    Measured by the mean logarithm of the rank, which a slice of a few dozen pairs can tell apart
    where recall cannot. The default stays unless a candidate beats it by more than
    `standard_errors` of the paired difference.

    Args:
        classifiers: (documents, dimensions) float32.
        documents: (documents, dimensions) float32 embeddings.
        queries: (exposed pairs, dimensions) float32.
        exposed: (exposed pairs,) positions of their documents.
        settings: candidates and default.
    """
    if len(exposed) < settings.fewest_pairs:
        return settings.default
    ranks = {
        weight: log_ranks(mix(classifiers, documents, weight), queries, exposed)
        for weight in (settings.default, *settings.candidates)
    }
    return choose(ranks, settings.default, settings)


def choose(
    ranks: Mapping[Choice, NDArray[np.float64]], default: Choice, settings: GuardSettings
) -> Choice:
    """Return the choice whose exposed documents rank best; see `choose_weight`.

    Args:
        ranks: choice -> (exposed pairs,) logarithms of the ranks; the default's among them.
        default: stays with fewer than `fewest_pairs` pairs, or unless another is clearly better.
        settings: what is clear.
    """
    kept = ranks[default]
    if len(kept) < settings.fewest_pairs:
        return default
    best, best_gain = default, 0.0
    for candidate, candidates_ranks in ranks.items():
        gains = kept - candidates_ranks
        standard_error = gains.std(ddof=1) / np.sqrt(len(gains))
        if gains.mean() > max(best_gain, settings.standard_errors * standard_error):
            best, best_gain = candidate, gains.mean()
    return best


def log_ranks(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], documents: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the logarithm of each query's rank of its document, (queries,), among all documents."""
    ranks = np.empty(len(queries), dtype=np.float64)
    step = max(1, _SCORES_AT_ONCE // len(vectors))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ vectors.T
        own = scores[np.arange(len(scores)), documents[start : start + step]]
        ranks[start : start + step] = np.log(1.0 + (scores > own[:, None]).sum(axis=1))
    return ranks


def _relevant(
    queries: Sequence[Query], positions: Mapping[str, int], pairs: Pairs
) -> list[tuple[str, int]]:
    return [
        (query.text, positions[document_id])
        for query in queries
        for document_id, relevance in sorted(pairs.get(query.id, {}).items())
        if relevance > 0 and document_id in positions
    ]


def _slice(pairs: Sequence[tuple[str, int]]) -> ExposedSlice:
    documents = np.array([document for _, document in pairs], dtype=np.int64)
    return ExposedSlice([query for query, _ in pairs], documents)
