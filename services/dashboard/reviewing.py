"""Which labels a person is asked about: a uniform sample of those without a verdict, so that it speaks for all."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from shared.contracts.augmentation import ExportedLabel
from shared.contracts.reviews import Review, ReviewVerdict, Verdict

PREFIX = "verdict/"
"""A form's field is this, the document, a slash and the train query: no id holds a slash."""
WITHDRAW = "withdraw"
Pair = tuple[str, str]


def drawn(
    labels: Sequence[ExportedLabel], reviewed: Collection[Pair], count: int, seed: int
) -> list[ExportedLabel]:
    """Return labels to ask about, the same for a seed; those with a verdict are passed over."""
    left = [each for each in labels if (each.document_id, each.query_id) not in reviewed]
    return random.Random(seed).sample(left, min(count, len(left)))


def verdicts_of(form: Mapping[str, Sequence[str]]) -> list[Verdict]:
    """Return the verdicts of a form; what was left open is no verdict.

    Raises:
        ValueError: a field is not one of ours.
    """
    verdicts = []
    for name, values in form.items():
        if not name.startswith(PREFIX) or not values[-1]:
            continue
        document_id, query_id = name.removeprefix(PREFIX).split("/")
        given = None if values[-1] == WITHDRAW else ReviewVerdict(values[-1])
        verdicts.append(Verdict(document_id=document_id, query_id=query_id, verdict=given))
    return verdicts


def by_query(reviews: Sequence[Review]) -> dict[str, ReviewVerdict]:
    """Return train query -> verdict, of one document's reviews."""
    return {each.query_id: each.verdict for each in reviews}
