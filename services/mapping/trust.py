"""Which synthetic queries are good enough evidence to lead to labels."""

from __future__ import annotations

from dataclasses import dataclass

from services.mapping.settings import MIN_EXPECTED, MappingSettings
from shared.contracts.synthetic_queries import Evidence, WrittenQueries


@dataclass(frozen=True)
class Trust:
    """What speaks for a synthetic query that may lead to labels; without evidence it is trusted.

    Args:
        min_support: share of the document's samples that must have it, in [0, 1].
        min_log_probability: that the SLM must give its line; None asks for none.
        min_queries: where fewer of a document reach the bounds, its first others make up the number.
        min_expected: where the SLM was searched, lines of a sample that must be it, on average. What is no query that
            was searched for, or too rare, must be in every sample there; 0 asks for nothing.
    """

    min_support: float
    min_log_probability: float | None
    min_queries: int
    min_expected: float = MIN_EXPECTED

    @classmethod
    def of(cls, settings: MappingSettings) -> Trust:
        """Return the bounds that the service is set to."""
        return cls(
            settings.min_support,
            settings.min_log_probability,
            settings.min_trusted_queries,
            settings.min_expected,
        )

    @property
    def name(self) -> str:
        """Return a short text that differs where the bounds do."""
        bounds = f"{self.min_support:g}/{self.min_log_probability}/{self.min_queries}"
        return f"{bounds}/{self.min_expected:g}"

    def trusted(self, written: WrittenQueries) -> list[str]:
        """Return the queries of a document that may lead to labels, in their order."""
        return [written.queries[position] for position in self.trusted_positions(written)]

    def trusted_positions(self, written: WrittenQueries) -> list[int]:
        """Return where those queries stand among the document's."""
        if not written.evidence:
            return list(range(len(written.queries)))
        reach = [self._is_enough(evidence) for evidence in written.evidence]
        missing = self.min_queries - sum(reach)
        trusted = []
        for position, is_enough in enumerate(reach):
            if is_enough or missing > 0:
                trusted.append(position)
                missing -= not is_enough
        return trusted

    def _is_enough(self, evidence: Evidence) -> bool:
        min_support = self.min_support
        if evidence.expected is not None:
            if evidence.expected >= self.min_expected:
                return True
            min_support = 1.0
        if evidence.support < min_support:
            return False
        if self.min_log_probability is None or evidence.log_probability is None:
            return True
        return evidence.log_probability >= self.min_log_probability
