"""How many of the labels that people looked at are right: counted now and then, beside the requests."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from itertools import groupby

import structlog
from prometheus_client import CollectorRegistry, Gauge

from shared.contracts.reviews import ReviewVerdict
from shared.errors import NotFound, Unavailable
from shared.store import Store

_log = structlog.get_logger()


class ReviewedLabels:
    """Counts the labels of now by verdict; verdicts on labels that are gone count for nothing.

    The label review asks about labels drawn uniformly, so the share of accepted ones speaks for all.

    Args:
        store: of labels and verdicts.
        registry: of the service.
    """

    def __init__(self, store: Store, registry: CollectorRegistry) -> None:
        self._store = store
        self._labels = Gauge(
            "skim_augmentation_reviewed_labels",
            "Labels of now that a person looked at, by verdict.",
            ["verdict"],
            registry=registry,
        )
        self._precision = Gauge(
            "skim_augmentation_label_precision",
            "Share of accepted ones among the labels of now that a person looked at.",
            registry=registry,
        )
        self._precision.set(math.nan)  # nobody looked yet

    async def watch(self, *, seconds: float) -> None:
        """Count at once and then after each pause, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.count)
            except Unavailable as error:
                _log.warning("reviews_not_counted", reason=str(error))
            await asyncio.sleep(seconds)

    def count(self) -> None:
        """Set the gauges: two reads of the store a document that has verdicts."""
        found: Counter[ReviewVerdict] = Counter()
        reviews = self._store.iterate_reviews()
        for document_id, of_document in groupby(reviews, key=lambda each: each.document_id):
            try:
                labels = {each.query_id for each in self._store.labels(document_id).labels}
            except NotFound:  # removed in between
                continue
            found.update(each.verdict for each in of_document if each.query_id in labels)
        for verdict in ReviewVerdict:
            self._labels.labels(verdict.value).set(found[verdict])
        total = found.total()
        self._precision.set(found[ReviewVerdict.ACCEPT] / total if total else math.nan)
