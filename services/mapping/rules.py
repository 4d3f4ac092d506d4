"""Which candidates become labels: by the paper's fixed tau, or by a calibrated probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.mapping.calibration import Calibration
from services.mapping.candidates import Candidate
from services.mapping.evidence import Rows, evidence_of
from services.mapping.query_statistics import QueryStatistics
from services.mapping.scorers import Scorer
from services.mapping.trust import Trust
from shared.contracts.mapping import MapDocument, MappedQuery
from shared.contracts.synthetic_queries import WrittenQueries


class Reading(Protocol):
    """What is looked at before anything is decided."""

    @property
    def neighbours(self) -> int:
        """Return how many neighbours of a synthetic query are looked at."""

    @property
    def least_similarity(self) -> float:
        """Return the cosine below which a neighbour is no candidate."""

    def positions(self, written: WrittenQueries) -> Sequence[int]:
        """Return which synthetic queries are looked at."""


class MappingRule(Reading, Protocol):
    """Decides which train queries a document gains."""

    @property
    def name(self) -> str:
        """Return a text that differs where decisions may."""

    def labels(self, document: MapDocument, candidates: Sequence[Candidate]) -> list[MappedQuery]:
        """Return the labels of one document, most similar first."""


@dataclass(frozen=True)
class PresetRule:
    """The paper's: every neighbour of a trusted synthetic query that reaches tau (section 4.2).

    Args:
        trust: which synthetic queries may lead to labels.
        min_similarity: tau, as a cosine.
        neighbours: train queries that a synthetic query may reach.
    """

    trust: Trust
    min_similarity: float
    neighbours: int

    @property
    def name(self) -> str:
        """Return a text that differs where decisions may."""
        return f"preset {self.min_similarity:g} {self.neighbours} {self.trust.name}"

    @property
    def least_similarity(self) -> float:
        """Return tau."""
        return self.min_similarity

    def positions(self, written: WrittenQueries) -> Sequence[int]:
        """Return the trusted ones."""
        return self.trust.trusted_positions(written)

    def labels(self, document: MapDocument, candidates: Sequence[Candidate]) -> list[MappedQuery]:
        """Return every candidate."""
        return _in_order([_label(document, candidate) for candidate in candidates])

    def would_take(
        self, written: WrittenQueries, candidates: Sequence[Candidate]
    ) -> NDArray[np.bool_]:
        """Return (candidates,) which of those that were found by looking further would be labels."""
        trusted = set(self.positions(written))
        return np.array(
            [
                any(
                    reach.similarity >= self.min_similarity
                    and reach.rank <= self.neighbours
                    and reach.position in trusted
                    for reach in candidate.reached_by
                )
                for candidate in candidates
            ],
            dtype=np.bool_,
        )


@dataclass(frozen=True)
class WholeReading:
    """Looks at all synthetic queries, far: what is not trusted is weak evidence, not none."""

    neighbours: int = 20
    least_similarity: float = 0.5

    def positions(self, written: WrittenQueries) -> Sequence[int]:
        """Return all."""
        return range(len(written.queries))


@dataclass(frozen=True)
class CalibratedRule:
    """Those whose probability of being right, by all that speaks for them, is high enough.

    Args:
        calibration: weighs what speaks for a candidate.
        statistics: what is known of train queries.
        scorers: read the document and the train query; those that the calibration was fitted with.
    """

    calibration: Calibration
    statistics: QueryStatistics
    scorers: Sequence[Scorer] = ()

    @property
    def name(self) -> str:
        """Return a text that differs where decisions may."""
        return f"calibrated {self.calibration.digest}"

    @property
    def neighbours(self) -> int:
        """Return how many neighbours of a synthetic query are looked at."""
        return self.calibration.neighbours

    @property
    def least_similarity(self) -> float:
        """Return the cosine below which a neighbour is no candidate."""
        return self.calibration.least_similarity

    def positions(self, written: WrittenQueries) -> Sequence[int]:
        """Return all."""
        return range(len(written.queries))

    def labels(self, document: MapDocument, candidates: Sequence[Candidate]) -> list[MappedQuery]:
        """Return the candidates that are probable enough, of these the most probable."""
        if not candidates:
            return []
        rows = rows_of(document, candidates, self.calibration.trust, self.statistics, self.scorers)
        probabilities = self.calibration.probabilities(rows)
        bars = self.statistics.bars([candidate.query for candidate in candidates])
        is_enough = probabilities >= np.maximum(bars, self.calibration.min_probability)
        best_first = np.argsort(-probabilities, kind="stable")
        kept = best_first[is_enough[best_first]][: self.calibration.labels_per_document]
        return _in_order(
            [_label(document, candidates[row], float(probabilities[row])) for row in kept]
        )


def rows_of(
    document: MapDocument,
    candidates: Sequence[Candidate],
    trust: Trust,
    statistics: QueryStatistics,
    scorers: Sequence[Scorer],
) -> Rows:
    """Return all that speaks for each candidate of a document, (candidates, columns)."""
    queries = [candidate.query for candidate in candidates]
    return np.hstack(
        [
            evidence_of(document, candidates, trust),
            statistics.log_reach(queries)[:, None],
            *(scorer.scores(document, queries) for scorer in scorers),
        ]
    )


def _label(
    document: MapDocument, candidate: Candidate, probability: float | None = None
) -> MappedQuery:
    best = candidate.best
    return MappedQuery(
        query_id=candidate.query.id,
        query=candidate.query.text,
        similarity=best.similarity,
        synthetic_query=document.queries[best.position],
        rank=best.rank,
        agreement=len(candidate.reached_by),
        probability=probability,
    )


def _in_order(labels: Sequence[MappedQuery]) -> list[MappedQuery]:
    return sorted(labels, key=lambda label: (-label.similarity, label.rank, label.query_id))
