"""Mapping in this process, as the service would do it: for demos, evaluations and calibration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from services.cli.console import Advance
from services.mapping.calibration import BY_EVIDENCE, BY_SIMILARITY, Calibration
from services.mapping.calibrator import Aim, Calibrator, Explored
from services.mapping.cross_encoder import CrossEncoderScorer
from services.mapping.index_builder import build_index
from services.mapping.mapper import QueryMapper, preset_of
from services.mapping.observation import Observation, Observer
from services.mapping.outcomes import Evidence, Outcomes, outcomes, source_of
from services.mapping.query_statistics import QueryStatistics
from services.mapping.remembering_encoder import RememberingEncoder
from services.mapping.rules import PresetRule, WholeReading
from services.mapping.scorers import DESCRIPTION_TOKENS, DocumentScorer
from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import TrainQueryIndex
from services.training.metrics import groups_by_clicks
from shared.contracts.document import Document
from shared.contracts.mapping import MapDocument
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, Query
from shared.encoder import TextEncoder

_DOCUMENTS_PER_STEP = 64
_TEXT_CHARACTERS = 4_000
"""As the augmentation sends."""
VERIFIED = (*BY_EVIDENCE, *DocumentScorer.names)
COLUMNS: Mapping[str, Sequence[str]] = {
    "similarity": BY_SIMILARITY,
    "evidence": BY_EVIDENCE,
    "verified": VERIFIED,
}
"""How much of what speaks for a candidate a calibration weighs."""


def map_documents(
    documents: Sequence[Document], rows: Sequence[SyntheticQueries]
) -> list[MapDocument]:
    """Return what the augmentation would send of those documents that have synthetic queries, in order."""
    of_document = {row.document_id: row for row in rows}
    return [
        MapDocument(
            document_id=document.id,
            text=document.described()[:_TEXT_CHARACTERS],
            queries=of_document[document.id].queries,
            evidence=of_document[document.id].evidence,
        )
        for document in documents
        if document.id in of_document
    ]


def map_offline(
    rows: Sequence[SyntheticQueries],
    queries: Sequence[Query],
    encoder: TextEncoder,
    folder: Path,
    advance: Advance,
    *,
    preset: PresetRule | None = None,
) -> Pairs:
    """Map synthetic queries by the paper's preset; return query id -> document id -> cosine.

    Args:
        rows: documents with their synthetic queries.
        queries: the train queries.
        encoder: of both.
        folder: receives the index.
        advance: told after every few documents.
        preset: tau, neighbours and trust; the settings' if absent.
    """
    preset = preset or preset_of(MappingSettings())
    encoder = remembering(encoder)
    _encode_beside(encoder, sorted({text for row in rows for text in row.queries}), 32)
    index = build_index(queries, encoder, folder, lambda done, total: None)
    mapper = QueryMapper(encoder, index, preset, preset)
    documents = [
        MapDocument(document_id=row.document_id, queries=row.queries, evidence=row.evidence)
        for row in rows
    ]
    labels: Pairs = {}
    for start in range(0, len(documents), _DOCUMENTS_PER_STEP):
        for mapped in mapper.map(documents[start : start + _DOCUMENTS_PER_STEP]):
            for label in mapped.labels:
                labels.setdefault(label.query_id, {})[mapped.document_id] = label.similarity
        advance(min(start + _DOCUMENTS_PER_STEP, len(documents)), len(documents))
    return labels


class OfflineCalibration:
    """Calibrates the mapping of a data set on its own log or judgements, and says what labels follow.

    Args:
        dataset: train queries, documents, and what is known of their pairs.
        rows: synthetic queries of some of the documents.
        encoder: the mapping encoder.
        index: of the train queries.
        advance: told how far the observation is.
        cross_encoder: verifies as well.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: Sequence[SyntheticQueries],
        encoder: TextEncoder,
        index: TrainQueryIndex,
        advance: Advance,
        cross_encoder: CrossEncoderScorer | None = None,
    ) -> None:
        self._cross_encoder = cross_encoder
        queries = dataset.queries_of("train")
        train = {query.id for query in queries}
        self.preset = preset_of(MappingSettings())
        self._clicks = {each: row for each, row in dataset.clicks.items() if each in train}
        self._evidence = Evidence(
            truth={each: row for each, row in dataset.truth.items() if each in train},
            clicks=dataset.clicks,
            impressions={each: row for each, row in dataset.impressions.items() if each in train},
            exploration=dataset.exploration,
        )
        self._dataset, self._documents = dataset, dataset.documents
        documents = map_documents(dataset.documents, rows)
        texts = self._texts = {
            document.id: document.described()[:_TEXT_CHARACTERS] for document in dataset.documents
        }
        clicked = {each for row in self._clicks.values() for each in row}
        self._encoder = encoder = remembering(encoder)
        self._map_documents = documents
        _encode_beside(encoder, sorted({text for each in documents for text in each.queries}), 32)
        _encode_beside(
            encoder,
            sorted({texts[each.document_id] for each in documents} | {texts[x] for x in clicked}),
            DESCRIPTION_TOKENS,
        )
        mapper = QueryMapper(encoder, index, self.preset, self.preset)
        scorers = [] if cross_encoder is None else [cross_encoder]
        self.observation: Observation = Observer(mapper, encoder, queries, scorers).observe(
            documents, texts, self._clicks, WholeReading(), self.preset, advance
        )

    def outcomes(self, source: str | None = None) -> Outcomes:
        """Return what the data set knows of the observed pairs, by the best source there is if none is named."""
        chosen = source_of(self._evidence) if source is None else source
        names = self.observation
        return outcomes(chosen, self._evidence, names.query_ids, names.names)  # type: ignore[arg-type]

    def explored(self, folder: Path) -> Explored | None:
        """Return the pairs of validation queries that were clicked under random exposure; None without any.

        Their queries are searched beside the train queries, as if they had been among them.

        Args:
            folder: receives an index.
        """
        validation = {query.id: query for query in self._dataset.queries_of("validation")}
        pairs = {
            (query_id, document_id)
            for query_id, row in self._dataset.exploration.items()
            if query_id in validation
            for document_id in row
        }
        asked = {document_id for _, document_id in pairs}
        documents = [each for each in self._map_documents if each.document_id in asked]
        if not documents:
            return None
        queries = [
            *self._dataset.queries_of("train"),
            *(
                Query(id=each, text=validation[each].text)
                for each in sorted({q for q, _ in pairs})
            ),
        ]
        silent: Advance = lambda done, total: None
        index = build_index(queries, self._encoder, folder, silent)
        mapper = QueryMapper(self._encoder, index, self.preset, self.preset)
        clicks = {query.id: self._dataset.clicks.get(query.id, {}) for query in queries}
        scorers = [] if self._cross_encoder is None else [self._cross_encoder]
        seen = Observer(mapper, self._encoder, queries, scorers).observe(
            documents, self._texts, clicks, WholeReading(), self.preset, silent
        )
        found = zip(seen.query_ids, seen.names, strict=True)
        is_explored = np.array([pair in pairs for pair in found], np.bool_)
        return Explored(seen.rows[is_explored], len(pairs))

    def calibrate(
        self, weighs: str, known: Outcomes, aim: Aim, explored: Explored | None = None
    ) -> tuple[Calibration, QueryStatistics]:
        """Return a calibration of the mapping; `weighs` names its columns (`COLUMNS`)."""
        positions = {document.id: row for row, document in enumerate(self._documents)}
        clicked = [positions[each] for row in self._clicks.values() for each in row]
        groups = groups_by_clicks(np.bincount(clicked, minlength=len(positions)))
        of_document = {
            document.id: name
            for name, is_member in groups.items()
            for document, inside in zip(self._documents, is_member, strict=True)
            if inside
        }
        calibrator = Calibrator(self.observation, self._encoder.name, self.preset, of_document)
        names, reader = COLUMNS[weighs], self._cross_encoder
        if reader is None or weighs != "verified":
            return calibrator.calibrate(names, known, aim, explored=explored)
        found, statistics = calibrator.calibrate(
            (*names, *reader.names), known, aim, explored=explored
        )
        return found.model_copy(update={"cross_encoder": reader.name}), statistics

    def labels(self, calibration: Calibration, statistics: QueryStatistics) -> Pairs:
        """Return the labels of the observed documents, as the service would give them."""
        observation = self.observation
        names = len(calibration.columns)
        chances = calibration.probabilities(observation.rows[:, :names])
        bars = statistics.bars(observation.queries)[observation.query_rows]
        order = np.lexsort((-chances, observation.document_rows))
        starts = np.searchsorted(observation.document_rows, observation.document_rows[order])
        is_among_first = np.arange(len(order)) - starts < calibration.labels_per_document
        is_enough = chances[order] >= np.maximum(bars[order], calibration.min_probability)
        return _pairs(observation, order[is_among_first & is_enough])


def _pairs(observation: Observation, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Pairs:
    labels: Pairs = {}
    for row in chosen.tolist():
        query = observation.queries[observation.query_rows[row]].id
        document = observation.documents[observation.document_rows[row]].document_id
        labels.setdefault(query, {})[document] = float(observation.rows[row, 1])
    return labels


def remembering(encoder: TextEncoder) -> RememberingEncoder:
    """Return an encoder that knows every text it was asked for: who maps the same twice encodes it once."""
    if isinstance(encoder, RememberingEncoder):
        return encoder
    return RememberingEncoder(encoder, size=2**31)


def _encode_beside(encoder: RememberingEncoder, texts: Sequence[str], max_tokens: int) -> None:
    """Let every core encode texts that will be asked for."""
    steps = [texts[start : start + 256] for start in range(0, len(texts), 256)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda step: encoder.encode(step, max_tokens=max_tokens), steps))
