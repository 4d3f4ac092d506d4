"""What the mapping service counts: what it looked at, what became a label, and whether its index still finds."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.mapping.candidates import Candidate
from services.mapping.rules import MappingRule, PresetRule
from shared.contracts.mapping import MappedQuery

_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


class MappingMetrics:
    """Counts decisions; a `Tally` of the mapper.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"skim_mapping_{name}", text, labels, registry=registry)

        self._documents = counter(
            "documents", "Documents mapped, by whether they gained a label.", "outcome"
        )
        self._neighbours = counter(
            "neighbours",
            "Neighbours of synthetic queries, by whether they reach the least similarity (tau).",
            "outcome",
        )
        self._candidates = counter(
            "candidates",
            "Train queries near to a document, by what the rule decided.",
            *("rule", "outcome"),
        )
        self._similarity = Histogram(
            "skim_mapping_label_similarity",
            "Cosine of a label.",
            buckets=_SHARES,
            registry=registry,
        )
        self._probability = Histogram(
            "skim_mapping_label_probability",
            "Probability of a label, where there is a calibration.",
            buckets=_SHARES,
            registry=registry,
        )
        self.train_queries = Gauge(
            "skim_mapping_train_queries", "Train queries in the index.", registry=registry
        )
        self.index_version_seconds = Gauge(
            "skim_mapping_index_version_seconds",
            "Unix time of the last change to the train queries; 0 if unknown.",
            registry=registry,
        )
        self.recall = Gauge(
            "skim_mapping_index_recall",
            "Canary: share of the exact neighbours above tau that the index finds, of a sample.",
            registry=registry,
        )
        self.recall.set(float("nan"))  # not measured yet, which no alert may take for bad

    def looked_at(self, *, near: int, far: int) -> None:
        """Count neighbours of synthetic queries that are similar enough, and those that are not."""
        self._neighbours.labels("reached").inc(near)
        self._neighbours.labels("below").inc(far)

    def decided(
        self, rule: MappingRule, candidates: Sequence[Candidate], labels: Sequence[MappedQuery]
    ) -> None:
        """Count what became of a document's candidates."""
        name = "preset" if isinstance(rule, PresetRule) else "calibrated"
        self._documents.labels("labelled" if labels else "unlabelled").inc()
        self._candidates.labels(name, "accepted").inc(len(labels))
        self._candidates.labels(name, "rejected").inc(len(candidates) - len(labels))
        for label in labels:
            self._similarity.observe(label.similarity)
            if label.probability is not None:
                self._probability.observe(label.probability)
