"""What a mapping's labels are worth, by the complete truth of train queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from services.cli.console import Advance
from services.cli.offline_mapping import OfflineCalibration, map_offline, remembering
from services.mapping.calibrator import Aim
from services.mapping.index_builder import build_index
from services.mapping.outcomes import Outcomes
from services.mapping.rules import PresetRule
from services.mapping.trust import Trust
from services.training.labels import Pairs, added_pairs, count, only_relevant
from services.training.query_clusters import cluster
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from shared.encoder import TextEncoder
from shared.errors import InvalidInput

CALIBRATED = {"calibrated": "similarity", "controlled": "evidence", "verified": "verified"}
"""Row -> what its calibration weighs."""
CHOSEN = "verified"
"""What `skim mapping calibrate` does unless told otherwise."""
_LEAST_SHARE = 0.8
"""Of the preset's right labels, that tau alone is calibrated for; for all of them it is the preset's own tau."""
_EVERYTHING = Trust(0.0, None, 0, min_expected=0.0)


def judge(
    dataset: Dataset,
    rows: Sequence[SyntheticQueries],
    encoder: TextEncoder,
    folder: Path,
    source: str | None,
    advance: Advance,
    cells_by: TextEncoder | None = None,
) -> dict[str, Any]:
    """Return `rows` {name: figures} and `sources` {name: what its calibration expected, and what came}.

    Args:
        dataset: with complete truth of train queries.
        rows: synthetic queries of the documents that are judged.
        encoder: the mapping encoder.
        folder: receives indexes.
        source: what calibrates; the best there is but truth if None.
        advance: told how far it is.
        cells_by: clusters the train queries into cells, the mapping encoder if None; one for all views that are compared.

    Raises:
        InvalidInput: no train query has truth.
    """
    queries = dataset.queries_of("train")
    known = {row.document_id for row in rows}
    truth = {
        query.id: {each: 1.0 for each in row if each in known}
        for query in queries
        if (row := only_relevant(dataset.truth).get(query.id))
    }
    if not truth:
        raise InvalidInput("no truth of train queries (qrels.tsv) to judge labels by")
    encoder = remembering(encoder)  # the presets read the same texts again
    index = build_index(queries, encoder, folder / "index", lambda done, total: None)
    offline = OfflineCalibration(dataset, rows, encoder, index, advance)
    yardstick = _Yardstick(dataset, truth, cells_by or encoder, len(known))
    outcomes = offline.outcomes(source)
    silent: Advance = lambda done, total: None
    untrusting = PresetRule(_EVERYTHING, offline.preset.min_similarity, offline.preset.neighbours)
    labels: dict[str, Pairs] = {
        "preset": map_offline(rows, queries, encoder, folder / "preset", silent),
        "preset_untrusted": map_offline(
            rows, queries, encoder, folder / "preset", silent, preset=untrusting
        ),
    }
    for name, weighs in CALIBRATED.items():
        aim = Aim(share_of_preset=_LEAST_SHARE) if name == "calibrated" else Aim()
        calibration, statistics = offline.calibrate(weighs, outcomes, aim)
        labels[name] = offline.labels(calibration, statistics)
    labels["chosen"] = labels[CHOSEN]
    figures = {name: yardstick.figures(pairs) for name, pairs in labels.items()}
    return {
        "documents": len(known),
        "source": outcomes.source,
        "rows": figures,
        "sources": _sources(offline, yardstick),
    }


def _sources(offline: OfflineCalibration, yardstick: _Yardstick) -> dict[str, Any]:
    """Return what each source expects of its own labels, and what the truth says of them."""
    told: dict[str, Any] = {}
    for source in ("truth", "impressions", "clicks"):
        try:
            known = offline.outcomes(source)
            calibration, statistics = offline.calibrate(CHOSEN, known, Aim())
        except InvalidInput as error:
            told[source] = {"left_out": str(error)}
            continue
        figures = yardstick.figures(offline.labels(calibration, statistics))
        told[source] = {
            "outcomes": calibration.outcomes,
            "expected_precision": round(calibration.estimates.precision, 4),
            "label_precision": figures["label_precision"],
            "label_recall": figures["label_recall"],
            "by_probability": _by_probability(offline, known),
        }
    return told


def _by_probability(offline: OfflineCalibration, known: Outcomes) -> list[dict[str, float]]:
    """Return mean probability and true share of candidates, by probability."""
    calibration, _ = offline.calibrate(CHOSEN, known, Aim())
    observation = offline.observation
    chances = calibration.probabilities(observation.rows)
    right = offline.outcomes("truth").is_right
    edges = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0001)
    inside = [(chances >= low) & (chances < high) for low, high in pairwise(edges)]
    return [
        {
            "candidates": int(each.sum()),
            "expected": round(float(chances[each].mean()), 3),
            "right": round(float(right[each].mean()), 3),
        }
        for each in inside
        if each.any()
    ]


class _Yardstick:
    """Measures labels by the truth.

    Args:
        dataset: for its clicks.
        truth: of train queries and judged documents.
        encoder: clusters train queries into the cells that a click may be missing from.
        documents: how many are judged.
    """

    def __init__(
        self, dataset: Dataset, truth: Pairs, encoder: TextEncoder, documents: int
    ) -> None:
        queries = dataset.queries_of("train")
        vectors = encoder.encode([query.text for query in queries])
        clusters = cluster(vectors)
        self._cluster_of = dict(
            zip([query.id for query in queries], clusters.of.tolist(), strict=True)
        )
        clicks = {query.id: dataset.clicks.get(query.id, {}) for query in queries}
        clicked_cells = {
            (self._cluster_of[query_id], document)
            for query_id, row in clicks.items()
            for document in row
        }
        self._truth, self._clicks, self._documents = truth, clicks, documents
        self._missing = added_pairs(truth, clicks)
        self._in_empty_cells = {
            (query_id, document)
            for query_id, row in truth.items()
            for document in row
            if (self._cluster_of[query_id], document) not in clicked_cells
        }

    def figures(self, labels: Pairs) -> dict[str, float | int]:
        """Return precision and recall of labels: all, those that are no click, those in cells without clicks."""
        right = _right(labels, self._truth)
        added = added_pairs(labels, self._clicks)
        right_added = _right(added, self._missing)
        in_empty = sum((q, d) in self._in_empty_cells for q, row in labels.items() for d in row)
        return {
            "label_precision": round(right / max(count(labels), 1), 4),
            "label_recall": round(right / count(self._truth), 4),
            "labels_per_document": round(count(labels) / self._documents, 2),
            "added_precision": round(right_added / max(count(added), 1), 4),
            "added_recall": round(right_added / max(count(self._missing), 1), 4),
            "empty_cell_recall": round(in_empty / max(len(self._in_empty_cells), 1), 4),
            "largest_hub": max((len(row) for row in labels.values()), default=0),
        }


def _right(labels: Mapping[str, Mapping[str, float]], truth: Pairs) -> int:
    return sum(
        len(row.keys() & truth.get(query_id, {}).keys()) for query_id, row in labels.items()
    )
