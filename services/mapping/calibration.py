"""A calibration: how probable it is that a candidate is right, and how probable it must be to become a label.

tau belongs to an encoder and a log. A calibration is fitted on candidates of which it is known whether they are
right (`outcomes.py`); it is files beside the index, and of one encoder.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from pydantic import Field

from services.mapping.evidence import COLUMNS, Rows
from services.mapping.logistic import Floats, Logistic
from services.mapping.settings import MIN_EXPECTED
from services.mapping.trust import Trust
from shared.contracts.base import Contract

BY_SIMILARITY = ("trusted_similarity",)
"""tau alone, calibrated."""
BY_EVIDENCE = (*COLUMNS, "log_reach")
"""And all that the synthetic queries say, and hubs."""
Source = Literal["truth", "judgements", "impressions", "clicks"]


class TrustBounds(Contract):
    """The bounds of trust that similarities were told apart by."""

    min_support: float
    min_log_probability: float | None
    min_queries: int
    min_expected: float = MIN_EXPECTED


class Bin(Contract):
    """Candidates of about one similarity, of the documents of one group."""

    group: str
    """all, or by the clicks of their documents: head, torso, tail."""
    from_similarity: float
    below_similarity: float
    candidates: int
    judged: int
    precision: float
    low: float
    high: float
    """Wilson's 95 % interval of what was judged, corrected as the source asks."""


class Estimates(Contract):
    """What the calibration expects of its own labels, on the documents it looked at."""

    documents: int
    labels: int
    precision: float
    right: float
    """Expected number of right labels."""
    preset_labels: int
    preset_right: float
    """The same of the paper's preset."""


class Calibration(Contract):
    """`calibration.json`."""

    format_version: Literal[1] = 1
    encoder: str
    source: Source
    corrected_by: float = 1.0
    """Probability that a right pair's outcome is seen at all: fitted probabilities are divided by it."""
    trust_bounds: TrustBounds
    model: Logistic
    min_probability: float = Field(ge=0, le=1)
    neighbours: int = Field(default=20, ge=1)
    least_similarity: float = Field(default=0.5, ge=-1, le=1)
    labels_per_document: int = Field(default=64, ge=1)
    outcomes: int
    right_outcomes: int
    curve: list[Bin]
    estimates: Estimates
    statistics: str = ""
    """sha256 of the file of train query statistics."""
    cross_encoder: str = ""
    """Name of the cross-encoder beside the index that it was fitted with, if any."""

    @property
    def digest(self) -> str:
        """Return 12 hex digits that differ where decisions may."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def trust(self) -> Trust:
        """Return what tells trusted similarities apart."""
        bounds = self.trust_bounds
        return Trust(**bounds.model_dump())

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns that are weighed."""
        return [column.name for column in self.model.columns]

    def probabilities(self, rows: Rows) -> Floats:
        """Return (rows,) in [0, 1] of all columns, of which those of the model must come first."""
        return probabilities(self.model, rows, self.corrected_by)


def probabilities(model: Logistic, rows: Rows, corrected_by: float) -> Floats:
    """Return (rows,) in [0, 1]: what the model says, corrected, at most 1."""
    chances: Floats = np.minimum(model.probabilities(rows) / corrected_by, 1.0)
    return chances


def threshold_of_precision(chances: Floats, wanted: float) -> float:
    """Return the least probability at which labels are expected to have a precision; 1 if none has."""
    ordered = np.sort(chances)[::-1]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    enough = np.flatnonzero(precision >= wanted)
    return float(ordered[enough[-1]]) if len(enough) else 1.0


def threshold_of_right(chances: Floats, wanted: float) -> float:
    """Return the greatest probability at which labels are expected to hold so many right ones."""
    ordered = np.sort(chances)[::-1]
    reached = int(np.searchsorted(np.cumsum(ordered), wanted))
    return float(ordered[min(reached, len(ordered) - 1)]) if len(ordered) else 1.0


def threshold_of_recall(chances_of_right: Floats, wanted: float) -> float:
    """Return the greatest probability at which this share of known right pairs becomes labels.

    Args:
        chances_of_right: (pairs,) probabilities of a sample of right pairs, 0 of those that are no candidates.
        wanted: in (0, 1].
    """
    ordered = np.sort(chances_of_right)[::-1]
    return float(ordered[max(0, int(np.ceil(wanted * len(ordered))) - 1)])


def wilson(right: float, judged: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    if judged <= 0:
        return 0.0, 1.0
    z2 = 1.96**2
    share = right / judged
    middle = share + z2 / (2 * judged)
    half = 1.96 * float(np.sqrt(share * (1 - share) / judged + z2 / (4 * judged**2)))
    return max(0.0, (middle - half) / (1 + z2 / judged)), min(
        1.0, (middle + half) / (1 + z2 / judged)
    )
