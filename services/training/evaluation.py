"""What the labels are worth: arms trained alike, measured on the complete truth of held-out queries."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field

from services.training.arm_cache import ArmCache, Ranking
from services.training.arms import ARMS, Arm
from services.training.choice import (
    NO_CHOICES,
    Choices,
    candidates_of,
    train_best,
    with_shares,
)
from services.training.embeddings import CachedEncoder
from services.training.guard import ExposedSlice, explored, expose
from services.training.joint_arms import Learner
from services.training.label_quality import TAUS, LabelQuality, label_quality
from services.training.labels import count
from services.training.lexical import Bm25
from services.training.measurement import Measurement, Row, difference, row_of
from services.training.metrics import CUTOFFS, PerQuery
from services.training.sources import Sources, needed
from services.training.supervision import Supervision, positions_of
from services.training.train import (
    TrainSettings,
    documents_sha256,
    embed_documents,
    embed_queries,
)
from shared.ad_index import flat_index
from shared.cold_start import Tower, text_of
from shared.contracts.base import Contract
from shared.dataset import Dataset
from shared.errors import InvalidInput, NotFound

Tell = Callable[[str, int, int], None]
"""Called with (arm, steps done, steps in all)."""
SECTIONS: Mapping[Tower, str] = {"title": "title_only", "metadata": "full"}
"""What a tower's rows are called."""
_TRAINED_BY = ("classifiers.py", "guard.py", "loss.py", "shortlist.py", "train.py")
"""Modules whose change makes another model of the same data."""


class EvaluationResult(Contract):
    """The arms on one split, on the complete truth of its test queries."""

    split: str
    encoder: str
    documents: int
    train_queries: int
    clicks: int
    test_queries: int
    """Measured ones."""
    test_queries_without_truth: int
    """Left out."""
    exposed_pairs: int
    """Size of the uniformly exposed slice that mixing weights were chosen on."""
    rows: dict[str, dict[str, Row]]
    """Section (`title_only`, `full`) -> arm -> metrics, gains over clicks, mixing weight, seconds."""
    gains: dict[str, dict[str, Row]]
    """Section -> `ours - arm`, as the table of arms pairs them -> the paired differences."""
    choices: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Section -> arm -> what was chosen for it on the slice; absent where there was one way to train."""
    left_out: dict[str, str]
    """Arm -> why it has no row."""
    labels: LabelQuality
    taus: list[LabelQuality]
    """Of the paper's preset, at other tau."""


class Evaluation:
    """One split: all that is the same for every arm.

    Args:
        dataset: with truth for test queries; that of validation queries only gives the exposed slice,
            unless there is an exploration log.
        encoder: the same for all arms.
        settings: the same for all arms, but for the tower.
        cache: of arms that were trained before.
        learner: of the arms whose encoder learns; without one these are left out.
        choices: what is tried for every arm of classifiers; None trains each as it is given.

    Raises:
        InvalidInput: no test query has truth.
    """

    def __init__(
        self,
        dataset: Dataset,
        encoder: CachedEncoder,
        settings: TrainSettings,
        cache: ArmCache | None = None,
        learner: Learner | None = None,
        choices: Choices | None = None,
    ) -> None:
        self.measurement = Measurement(dataset)
        self.exposed = exposed_slice(dataset, settings)
        self.encoder = encoder
        self._documents, self._settings = dataset.documents, settings
        self._cache = cache or ArmCache()
        self._learner, self._choices = learner, choices
        self._queries = embed_queries(self.measurement.queries, encoder)
        self._fixed = _digest(
            encoder.name,
            documents_sha256(dataset.documents),
            [query.text for query in self.measurement.queries],
            [list(self.exposed.queries), self.exposed.documents.tolist()],
            [(Path(__file__).parent / name).read_text() for name in _TRAINED_BY],
        )

    def rank(self, arm: Arm, tower: Tower, sources: Sources, tell: Tell) -> Ranking:
        """Return the arm's answers to the test queries, from the cache if it has them.

        Raises:
            NotFound: a source that the arm needs is absent.
            InvalidInput: its sources hold nothing to train on.
        """
        started = time.monotonic()
        if arm.bm25:
            ranked = self._by_words(arm, tower, sources)
            return Ranking(ranked, 0.0, time.monotonic() - started)
        settings = replace(self._settings, tower=arm.reads or tower)
        if arm.learns is None:
            vectors = embed_documents(self._documents, self.encoder, settings.tower)
            return Ranking(self._search(vectors), 0.0, time.monotonic() - started)
        learns, of_log = arm.learns, sources.with_log(arm.log)
        if arm.kind != "classifiers":
            return self._learned(arm, settings, learns(of_log), tell)
        candidates = candidates_of(
            lambda tau: learns(of_log.with_labels_from(tau)), settings, self._choices or NO_CHOICES
        )
        candidates = with_shares(candidates, self._documents, self.encoder, self.exposed)
        key = _digest(
            self._fixed,
            *(
                part
                for each in candidates
                for part in (asdict(each.settings), each.supervision.sha256)
            ),
        )
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        model, choice = train_best(
            self._documents,
            candidates,
            self.encoder,
            self.exposed,
            lambda done, total: tell(arm.name, done, total),
        )
        ranking = Ranking(
            self._search(model.vectors),
            model.mixing_weight,
            time.monotonic() - started,
            choice if len(candidates) > 1 else "",
        )
        self._cache.put(key, ranking)
        return ranking

    def _learned(
        self, arm: Arm, settings: TrainSettings, supervision: Supervision, tell: Tell
    ) -> Ranking:
        """Return the answers of an arm whose encoder learns, from the cache if it has them."""
        started = time.monotonic()
        if self._learner is None:
            raise NotFound("needs an encoder to train")
        identity = self._learner.identity(arm.kind, settings.tower)
        key = _digest(self._fixed, identity, asdict(settings), supervision.sha256)
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        ranked, weight = self._learner.rank(
            arm.kind,
            settings.tower,
            self._documents,
            supervision,
            self.exposed,
            settings.guard,
            [query.text for query in self.measurement.queries],
            max(CUTOFFS),
            lambda done, total: tell(arm.name, done, total),
        )
        ranking = Ranking(ranked, weight, time.monotonic() - started)
        self._cache.put(key, ranking)
        return ranking

    def _search(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        return flat_index(vectors).search(self._queries, max(CUTOFFS))[1]

    def _by_words(self, arm: Arm, tower: Tower, sources: Sources) -> NDArray[np.int64]:
        texts = [text_of(document, tower) for document in self._documents]
        if arm.expanded:
            written = needed(sources.written, "synthetic queries (--queries FILE)")
            queries = {row.document_id: row.queries for row in written.synthetic_queries}
            texts = [
                " ".join([text, *queries.get(document.id, [])])
                for text, document in zip(texts, self._documents, strict=True)
            ]
        asked = [query.text for query in self.measurement.queries]
        return Bm25(texts).search(asked, max(CUTOFFS))


def evaluate(
    evaluation: Evaluation,
    sources: Mapping[Tower, Sources],
    *,
    split_name: str,
    arms: Sequence[Arm] = ARMS,
    progress: Tell | None = None,
) -> EvaluationResult:
    """Train every arm on the train queries and measure it on the test queries, over all documents.

    An arm whose sources are absent is left out, and the result says why.

    Args:
        evaluation: of the split.
        sources: what there is to learn from, for each tower; at least one.
        split_name: names the way the queries are parted, in the result.
        arms: rows of the table.
        progress: told as the arms train.
    """
    rows: dict[str, dict[str, Row]] = {}
    gains: dict[str, dict[str, Row]] = {}
    choices: dict[str, dict[str, str]] = {}
    left_out: dict[str, str] = {}
    for tower, of_tower in sources.items():
        rankings: dict[Arm, Ranking] = {}
        for arm in arms:
            try:
                rankings[arm] = evaluation.rank(arm, tower, of_tower, progress or _tell_nobody)
            except (NotFound, InvalidInput) as error:
                left_out[arm.name] = str(error)
        section = SECTIONS[tower]
        rows[section], gains[section] = _table(evaluation.measurement, rankings)
        choices[section] = {
            arm.name: ranking.choice for arm, ranking in rankings.items() if ranking.choice
        }
    one = next(iter(sources.values()))
    labels = {} if one.written is None else one.written.labels
    by_tau = labels if one.written is None else one.written.preset_labels or labels
    measurement = evaluation.measurement
    return EvaluationResult(
        split=split_name,
        encoder=evaluation.encoder.name,
        documents=len(one.documents),
        train_queries=len(one.queries),
        clicks=count(one.log.clicks),
        test_queries=len(measurement.queries),
        test_queries_without_truth=measurement.without_truth,
        exposed_pairs=len(evaluation.exposed.documents),
        rows=rows,
        gains=gains,
        choices=choices,
        left_out=left_out,
        labels=label_quality(labels, one.truth, one.log.clicks),
        taus=[label_quality(by_tau, one.truth, one.log.clicks, tau=tau) for tau in TAUS],
    )


def exposed_slice(dataset: Dataset, settings: TrainSettings) -> ExposedSlice:
    """Return the pairs that settings are chosen on: of the exploration log, else a share of the truth.

    Only of validation queries; empty without either.
    """
    queries, positions = dataset.queries_of("validation"), positions_of(dataset.documents)
    if dataset.exploration:
        return explored(queries, positions, dataset.exploration)
    return expose(queries, positions, dataset.truth, settings.guard)


def _table(
    measurement: Measurement, rankings: Mapping[Arm, Ranking]
) -> tuple[dict[str, Row], dict[str, Row]]:
    """Return the arms' rows and what SKIM gains over each of them."""
    measured = {arm.name: measurement.of(ranking.documents) for arm, ranking in rankings.items()}
    rows: dict[str, Row] = {}
    gains: dict[str, Row] = {}
    for arm, ranking in rankings.items():
        row = row_of(measured[arm.name]) | row_of(measurement.biased(ranking.documents))
        if arm.compared_with in measured:
            gain = difference(measured[arm.name], measured[arm.compared_with])
            row |= {f"gain_{name}": value for name, value in gain.items()}
        rows[arm.name] = row | {
            "mixing_weight": ranking.mixing_weight,
            "seconds": round(ranking.seconds, 2),
        }
        gains |= _gain_over(arm, measured)
    return rows, gains


def _gain_over(arm: Arm, measured: Mapping[str, Mapping[str, PerQuery]]) -> dict[str, Row]:
    ours = arm.rival_of
    if arm.name == ours or ours not in measured:
        return {}
    return {f"{ours} - {arm.name}": difference(measured[ours], measured[arm.name])}


def _digest(*parts: Any) -> str:  # noqa: ANN401  (anything JSON can hold)
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _tell_nobody(arm: str, done: int, total: int) -> None:
    pass
