"""Fits a calibration on what was observed, and chooses what is probable enough to be a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.mapping.calibration import (
    Bin,
    Calibration,
    Estimates,
    TrustBounds,
    probabilities,
    threshold_of_precision,
    threshold_of_recall,
    threshold_of_right,
    wilson,
)
from services.mapping.evidence import Rows
from services.mapping.fitting import fitted
from services.mapping.logistic import Floats
from services.mapping.observation import Observation
from services.mapping.outcomes import Outcomes
from services.mapping.query_statistics import QueryStatistics
from services.mapping.rules import PresetRule
from shared.errors import InvalidInput

EDGES = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0001)
"""Of the similarities that the curve tells apart."""


@dataclass(frozen=True)
class Explored:
    """Pairs that were clicked where documents are shown at random: a fair sample of what is right."""

    rows: Rows
    """(candidates, columns) of those that synthetic queries come near to."""
    pairs: int
    """How many there are, those included."""


@dataclass(frozen=True)
class Aim:
    """How many labels to take: by precision, else by recall, else by what the paper's preset takes."""

    precision: float | None = None
    """The least precision that is expected of all labels together."""
    recall: float | None = None
    """The share of pairs clicked under random exposure that become labels."""
    share_of_preset: float = 1.0
    """Right labels, by the calibration's own estimate, as a share of those the paper's preset takes."""
    labels_per_document: int = 64
    documents_per_query: int | None = None
    """Documents that a train query may absorb, of those observed; the most probable ones."""


class Calibrator:
    """Calibrates on one observation.

    Args:
        observation: candidates of a sample of documents.
        encoder: name of the mapping encoder.
        preset: the paper's rule; how many right labels it takes is a yardstick, and its trust tells similarities apart.
        groups: document id -> head, torso or tail, for the curve.
    """

    def __init__(
        self,
        observation: Observation,
        encoder: str,
        preset: PresetRule,
        groups: Mapping[str, str],
    ) -> None:
        self._observation, self._encoder, self._preset = observation, encoder, preset
        self._groups = np.array([groups.get(name, "tail") for name in observation.names])

    def calibrate(
        self,
        names: Sequence[str],
        outcomes: Outcomes,
        aim: Aim,
        *,
        explored: Explored | None = None,
    ) -> tuple[Calibration, QueryStatistics]:
        """Return a calibration on the first columns of the observation, with the statistics it needs.

        Args:
            names: of these columns.
            outcomes: of the observation's candidates.
            aim: how many labels to take.
            explored: pairs clicked under random exposure.

        Raises:
            InvalidInput: too few outcomes are known, or recall is asked for without an exploration log.
        """
        rows = self._observation.rows[:, : len(names)]
        known = outcomes.is_known
        model, corrected_by = fitted(names, rows, outcomes)
        chances = probabilities(model, rows, corrected_by)
        is_preset = self._observation.is_preset
        bars = self._bars(chances, aim.documents_per_query)
        of_explored = None
        if explored is not None:
            of_explored = np.zeros(explored.pairs)
            known_rows = explored.rows[:, : len(names)]
            of_explored[: len(known_rows)] = probabilities(model, known_rows, corrected_by)
        threshold = float(_just_below(self._threshold(chances, is_preset, aim, of_explored)))
        kept = chances >= np.maximum(bars[self._observation.query_rows], threshold)
        statistics = self._observation.statistics
        bounds = self._preset.trust
        return Calibration(
            encoder=self._encoder,
            source=outcomes.source,
            corrected_by=corrected_by,
            trust_bounds=TrustBounds(
                min_support=bounds.min_support,
                min_log_probability=bounds.min_log_probability,
                min_queries=bounds.min_queries,
                min_expected=bounds.min_expected,
            ),
            model=model,
            min_probability=threshold,
            labels_per_document=aim.labels_per_document,
            outcomes=int(known.sum()),
            right_outcomes=int(outcomes.is_right[known].sum()),
            curve=self._curve(outcomes, corrected_by),
            estimates=Estimates(
                documents=len(self._observation.documents),
                labels=int(kept.sum()),
                precision=float(chances[kept].mean()) if kept.any() else 0.0,
                right=float(chances[kept].sum()),
                preset_labels=int(is_preset.sum()),
                preset_right=float(chances[is_preset].sum()),
            ),
        ), QueryStatistics(
            statistics.ids, statistics.reach, statistics.profiles, bars, statistics.documents
        )

    def _threshold(
        self,
        chances: Floats,
        is_preset: NDArray[np.bool_],
        aim: Aim,
        of_explored: Floats | None,
    ) -> float:
        if aim.precision is not None:
            return threshold_of_precision(chances, aim.precision)
        if aim.recall is not None:
            if of_explored is None:
                raise InvalidInput(
                    "recall needs an exploration log (exploration.tsv) of validation queries"
                )
            return threshold_of_recall(of_explored, aim.recall)
        return threshold_of_right(chances, aim.share_of_preset * float(chances[is_preset].sum()))

    def _bars(self, chances: Floats, documents_per_query: int | None) -> NDArray[np.float32]:
        """Return for each train query the probability of the last document it may absorb."""
        bars = np.zeros(len(self._observation.queries), dtype=np.float32)
        if documents_per_query is None:
            return bars
        queries = self._observation.query_rows
        order = np.lexsort((-chances, queries))
        starts = np.searchsorted(queries[order], np.arange(len(bars)))
        ends = np.append(starts[1:], len(queries))
        is_hub = ends - starts > documents_per_query
        last = order[starts[is_hub] + documents_per_query - 1]
        bars[is_hub] = _just_below(chances[last])
        return bars

    def _curve(self, outcomes: Outcomes, corrected_by: float) -> list[Bin]:
        """Return precision by similarity: of all documents, then by their clicks."""
        similarities = np.nan_to_num(self._observation.rows[:, 0], nan=-1.0)
        curve = []
        for group in ("all", "head", "torso", "tail"):
            is_member = self._groups == group if group != "all" else np.True_
            for low, high in pairwise(EDGES):
                inside = (similarities >= low) & (similarities < high) & is_member
                judged = inside & outcomes.is_known
                right, of = int(outcomes.is_right[judged].sum()), int(judged.sum())
                bounds = wilson(right, of)
                curve.append(
                    Bin(
                        group=group,
                        from_similarity=low,
                        below_similarity=min(high, 1.0),
                        candidates=int(inside.sum()),
                        judged=of,
                        precision=_share(right / max(of, 1) / corrected_by),
                        low=_share(bounds[0] / corrected_by),
                        high=_share(bounds[1] / corrected_by),
                    )
                )
        return curve


def _share(value: float) -> float:
    return round(min(1.0, value), 4)


def _just_below(chance: float | Floats) -> Floats:
    """Return a millionth or less below, so that what set a threshold reaches it whatever the rounding of sums."""
    return np.asarray(np.floor(np.asarray(chance) * 1e6 - 0.01) / 1e6)
