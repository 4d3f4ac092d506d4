"""Of which candidates it is known whether they are right, from whatever a user has.

- Complete truth: of all, for train queries that have any.
- Judgements (a truth that says 0 of some pairs, or reviewed labels): of the pairs judged.
- Clicks with impressions: a pair that was shown is right if it was clicked. What was not shown says
  nothing and is left out; so unclicked is not taken for irrelevant where nobody could click. What is
  left assumes that, all else that speaks for a pair being equal, relevance does not depend on
  whether it was shown, and that a relevant document that is shown is clicked by somebody.
- Clicks alone: an unclicked pair may be right. The probability of a click is fitted, and divided by
  the share of relevant pairs that the log holds (Elkan and Noto, KDD 2008), which an exploration log
  tells; without one, by the share of clicked pairs where the model is surest. That takes clicks as a random draw from
  relevance, which they are not: the roughest of the four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.mapping.calibration import Source
from shared.errors import InvalidInput

Pairs = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> relevance or count."""


@dataclass(frozen=True)
class Evidence:
    """What is known of pairs of train queries (and, for exploration, of others)."""

    truth: Pairs = field(default_factory=dict)
    clicks: Pairs = field(default_factory=dict)
    impressions: Pairs = field(default_factory=dict)
    exploration: Pairs = field(default_factory=dict)


@dataclass(frozen=True)
class Outcomes:
    """For each of some pairs, whether its outcome is known, and whether it is right."""

    source: Source
    is_known: NDArray[np.bool_]
    is_right: NDArray[np.bool_]
    logged: float | None = None
    """Clicks alone: share of relevant pairs that the log holds, if something tells."""


def source_of(evidence: Evidence) -> Source:
    """Return the best that there is: judgements of people, impressions, clicks.

    Complete truth cannot be told from judgements that are all positive: it must be asked for.

    Raises:
        InvalidInput: there are not even clicks.
    """
    if any(value <= 0 for row in evidence.truth.values() for value in row.values()):
        return "judgements"
    if evidence.impressions:
        return "impressions"
    if evidence.clicks:
        return "clicks"
    raise InvalidInput("nothing to calibrate with: neither clicks nor judgements")


def outcomes(
    source: Source, evidence: Evidence, query_ids: Sequence[str], document_ids: Sequence[str]
) -> Outcomes:
    """Return what is known of pairs, given as two sequences of the same length."""
    pairs = list(zip(query_ids, document_ids, strict=True))

    def _among(known: Pairs) -> NDArray[np.bool_]:
        return np.array([document in known.get(query, {}) for query, document in pairs], np.bool_)

    if source in ("truth", "judgements"):
        truth = evidence.truth
        is_right = np.array(
            [truth.get(query, {}).get(document, 0) > 0 for query, document in pairs], np.bool_
        )
        is_known = (
            np.array([query in truth for query, _ in pairs], np.bool_)
            if source == "truth"
            else _among(truth)
        )
        return Outcomes(source, is_known, is_right)
    is_clicked = _among(evidence.clicks)
    if source == "impressions":
        return Outcomes(source, _among(evidence.impressions) | is_clicked, is_clicked)
    return Outcomes(source, np.ones(len(pairs), np.bool_), is_clicked, _logged(evidence))


def _logged(evidence: Evidence) -> float | None:
    """Return the share of the pairs clicked under random exposure that the log clicked too."""
    explored = [(query, each) for query, row in evidence.exploration.items() for each in row]
    if not explored:
        return None
    hits = sum(each in evidence.clicks.get(query, {}) for query, each in explored)
    return max(hits, 1) / len(explored)
