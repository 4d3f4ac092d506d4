"""The verdicts of the label review as judgements, for the mapping's calibration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shared.contracts.reviews import Review, ReviewVerdict
from shared.dataset import Dataset, Pairs


def with_reviews(dataset: Dataset, reviews: Iterable[Review]) -> Dataset:
    """Return the data set judged by its reviews: a verdict counts before what the folder says of a pair.

    A truth that says 0 of no pair is complete, or clicks by another name: its pairs beside a few verdicts would
    make nearly every known outcome right. So it is left out, and the verdicts are all that is known.
    """
    is_judged = any(value <= 0 for row in dataset.truth.values() for value in row.values())
    truth: Pairs = {each: dict(row) for each, row in dataset.truth.items()} if is_judged else {}
    for review in reviews:
        relevance = 1.0 if review.verdict is ReviewVerdict.ACCEPT else 0.0
        truth.setdefault(review.query_id, {})[review.document_id] = relevance
    return replace(dataset, truth=truth)
