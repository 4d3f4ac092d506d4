"""Labels of a data set, mapped in this process and kept under the hash of all that went in."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

import services.mapping
from services.cli.console import Advance, progress_bar
from services.cli.offline_mapping import OfflineCalibration, map_offline, remembering
from services.mapping.calibrator import Aim
from services.mapping.index_builder import build_index
from services.mapping.rules import PresetRule
from shared.contracts.base import Contract
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, read_pairs, write_pairs
from shared.encoder import SentenceEncoder

_WEIGHS = "verified"
_MAPPED_BY = ("candidates.py", "rules.py", "trust.py")
_CALIBRATED_BY = (
    *_MAPPED_BY, "calibration.py", "calibrator.py", "evidence.py", "fitting.py", "logistic.py", "observation.py", "outcomes.py",
    "scorers.py",
)  # fmt: skip
"""Modules whose change makes other labels of the same data."""


class KeptLabels:
    """Maps, or reads what an earlier run mapped.

    Args:
        folder: keeps a file for each mapping.
        encoder: the mapping encoder.
        preset: the paper's rule.
        is_fresh: whether what is kept is ignored.
    """

    def __init__(
        self, folder: Path, encoder: SentenceEncoder, preset: PresetRule, *, is_fresh: bool
    ) -> None:
        self._folder, self._encoder, self._preset = folder, remembering(encoder), preset
        self._is_fresh = is_fresh

    def by_preset(self, dataset: Dataset, rows: Sequence[SyntheticQueries], title: str) -> Pairs:
        """Return the labels of the paper's preset: query id -> document id -> cosine."""
        queries = dataset.queries_of("train")
        facts = [
            self._encoder.name,
            self._preset.name,
            *(_source(name) for name in _MAPPED_BY),
            *_lines(rows),
            *_lines(queries),
        ]

        def _map(scratch: Path, advance: Advance) -> Pairs:
            return map_offline(rows, queries, self._encoder, scratch, advance, preset=self._preset)

        return self._kept(facts, _map, title)

    def calibrated(self, dataset: Dataset, rows: Sequence[SyntheticQueries], title: str) -> Pairs:
        """Return the labels of a mapping that is calibrated on what the log showed; truth is not looked at.

        Raises:
            InvalidInput: too little was clicked.
        """
        queries = dataset.queries_of("train")
        train = {query.id for query in queries}
        logs = [
            {query_id: row for query_id, row in pairs.items() if query_id in train}
            for pairs in (dataset.clicks, dataset.impressions)
        ]
        facts = [
            self._encoder.name,
            self._preset.name,
            *(_source(name) for name in _CALIBRATED_BY),
            *(orjson.dumps(log, option=orjson.OPT_SORT_KEYS).decode() for log in logs),
            *_lines(rows),
            *_lines(queries),
            *_lines(dataset.documents),
        ]

        def _map(scratch: Path, advance: Advance) -> Pairs:
            index = build_index(queries, self._encoder, scratch, lambda done, total: None)
            offline = OfflineCalibration(dataset, rows, self._encoder, index, advance)
            found, statistics = offline.calibrate(_WEIGHS, offline.outcomes("impressions"), Aim())
            return offline.labels(found, statistics)

        return self._kept(facts, _map, title)

    def _kept(
        self, facts: Sequence[str], map_now: Callable[[Path, Advance], Pairs], title: str
    ) -> Pairs:
        digest = hashlib.sha256()
        for fact in facts:
            digest.update(fact.encode() + b"\n")
        kept = self._folder / f"{digest.hexdigest()}.labels.tsv"
        if kept.exists() and not self._is_fresh:
            return read_pairs(kept)
        with tempfile.TemporaryDirectory() as scratch, progress_bar(title) as advance:
            labels = map_now(Path(scratch) / "index", advance)
        write_pairs(kept, labels)
        return labels


def _lines(rows: Sequence[Contract]) -> list[str]:
    return [row.model_dump_json() for row in rows]


def _source(name: str) -> str:
    return (Path(services.mapping.__path__[0]) / name).read_text(encoding="utf-8")
