"""What the generation service counts and times."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.generation.batching import StepReport
from services.generation.generator import Generated
from shared.completion import Dropped
from shared.durations import LATENCY_BUCKETS_SECONDS

_DOCUMENT_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Outcome(StrEnum):
    """What became of a document."""

    WRITTEN = "written"
    REFUSED = "refused"
    """There was no room."""
    EXPIRED = "expired"
    """It was not there by its deadline."""
    CANCELLED = "cancelled"
    """The client left, or did not need it any more."""
    FAILED = "failed"


class GenerationMetrics:
    """How much is written, how fast, and for whom; tokens / seconds is the model's speed.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"skim_generation_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"skim_generation_{name}", text, registry=registry)

        def histogram(name: str, text: str, *buckets: float) -> Histogram:
            return Histogram(f"skim_generation_{name}", text, buckets=buckets, registry=registry)

        documents = counter("documents", "Documents, by what became of them.", "outcome")
        self._documents = {outcome: documents.labels(outcome) for outcome in Outcome}
        self._queries = counter("queries", "Queries kept.")
        dropped = counter("lines_dropped", "Lines that are no queries, by reason.", "reason")
        self._dropped = {reason: dropped.labels(reason) for reason in Dropped}
        self._first_query = histogram(
            "first_query_seconds", "From arrival to the first whole line.", *_DOCUMENT_SECONDS
        )
        self._whole = histogram(
            "document_seconds", "From arrival to all queries.", *_DOCUMENT_SECONDS
        )
        self.held = gauge("documents_held", "Documents taken in and not yet answered.")
        self.slots = gauge("slots", "Completions that can be written at the same time.")
        self._waiting = gauge("documents_waiting", "Documents that wait for a slot.")
        self._slots_used = gauge("slots_used", "Completions being written or searched.")
        self._prefill_tokens = counter("prefill_tokens", "Prompt tokens read.")
        self._decode_tokens = counter(
            "decode_tokens", "Tokens written behind the first, or read in a search."
        )
        self._prefill = histogram(
            "prefill_seconds", "Time a step read prompts.", *LATENCY_BUCKETS_SECONDS
        )
        self._decode = histogram(
            "decode_seconds", "Time a step wrote tokens.", *LATENCY_BUCKETS_SECONDS
        )
        self._step = histogram(
            "step_seconds", "Time of a step of the batch.", *LATENCY_BUCKETS_SECONDS
        )

    def count(self, outcome: Outcome, documents: int = 1) -> None:
        """Count documents."""
        self._documents[outcome].inc(documents)

    def written(self, generated: Generated, *, arrived: float, finished: float) -> None:
        """Count what was written for a document; moments are of `time.monotonic()`."""
        self._queries.inc(len(generated.written.queries))
        for reason, lines in generated.dropped.items():
            self._dropped[reason].inc(lines)
        self._first_query.observe(generated.first_line - arrived)
        self._whole.observe(finished - arrived)

    def step(self, report: StepReport) -> None:
        """Count a step of the decoder; called from its thread."""
        self._waiting.set(report.waiting)
        self._slots_used.set(report.active)
        if report.prefill_tokens:
            self._prefill_tokens.inc(report.prefill_tokens)
            self._prefill.observe(report.prefill_seconds)
        if report.decode_tokens:
            self._decode_tokens.inc(report.decode_tokens)
            self._decode.observe(report.decode_seconds)
        self._step.observe(report.prefill_seconds + report.decode_seconds)
