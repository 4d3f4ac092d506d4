"""How many of the augmented labels are right, and how much of what clicks miss they found."""

from __future__ import annotations

from services.training.labels import Pairs, added_pairs, count
from shared.contracts.base import Contract

TAUS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class LabelQuality(Contract):
    """The augmented labels of train queries that are no clicks, against the truth."""

    tau: float | None = None
    """Labels of at least this similarity; all if None."""
    added: int
    precision: float | None
    """Share that is relevant, of those whose query has truth; None if there are none."""
    recall: float | None
    """Share of the relevant pairs without a click that they found; None if there are none."""


def label_quality(
    labels: Pairs, truth: Pairs, clicks: Pairs, *, tau: float | None = None
) -> LabelQuality:
    """Compare labels that are no clicks with the relevant pairs that are none; all of train queries."""
    if tau is not None:
        labels = {
            query_id: {name: value for name, value in row.items() if value >= tau}
            for query_id, row in labels.items()
        }
    added, missing = added_pairs(labels, clicks), added_pairs(truth, clicks)
    judged = [row for query_id, row in added.items() if query_id in truth]
    found = sum(
        len(row.keys() & missing.get(query_id, {}).keys()) for query_id, row in added.items()
    )
    return LabelQuality(
        tau=tau,
        added=count(added),
        precision=found / sum(map(len, judged)) if judged else None,
        recall=found / count(missing) if missing else None,
    )
