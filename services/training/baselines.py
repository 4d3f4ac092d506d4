"""What each arm of the evaluation learns from: SKIM, its rivals and its bounds, from their papers.

Every function takes the sources and gives a supervision, so that all arms are trained alike. Where a
paper brings its own encoder or trainer, only its idea of what to learn from is taken.
"""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import scipy.sparse as sp

from services.training.classifiers import LabelMatrix
from services.training.labels import Pairs, count, pair_matrix
from services.training.metrics import propensities_from_clicks
from services.training.sources import Sources, needed
from services.training.supervision import (
    Supervision,
    of_labels,
    of_pairs,
    with_synthetic_queries,
    with_texts,
    with_titles,
)
from shared.ad_index import flat_index

_CO_OCCURRENCE = 0.1
"""Gandalf's threshold."""
_NEIGHBOURS, _TEACHER_SCALE, _TEACHER_THRESHOLD = 5, 20.0, 0.5
"""LEVER: documents a clicked one hands its label on to; logit = scale x (cosine - threshold)."""
_SYNTHETIC = "synthetic queries (--queries FILE, written by `skim generate`)"
_SYNTHETIC_WITHOUT = (
    "synthetic queries written from titles alone (--queries-without-metadata FILE)"
)
_PRESET = "another mapping than the paper's preset (impressions or judgements to calibrate with)"
_TRUTH = "truth of train queries (qrels.tsv)"


def clicks(sources: Sources) -> Supervision:
    """Clicks as they are."""
    return with_titles(_clicks_and(sources, {}), sources.documents)


def skim(sources: Sources) -> Supervision:
    """Clicks and the labels that synthetic queries were mapped to (Prakash et al., KDD 2025)."""
    written = needed(sources.written, _SYNTHETIC)
    return with_titles(_clicks_and(sources, written.labels), sources.documents)


def skim_preset(sources: Sources) -> Supervision:
    """SKIM with the labels of the paper's preset, whatever the log says of them."""
    written = needed(sources.written, _SYNTHETIC)
    labels = needed(written.preset_labels, _PRESET)
    return with_titles(_clicks_and(sources, labels), sources.documents)


def skim_of_any_log(sources: Sources) -> Supervision:
    """SKIM where the log is another than the one that the mapping was calibrated on: by the paper's preset."""
    written = needed(sources.written, _SYNTHETIC)
    labels = written.preset_labels or written.labels
    return with_titles(_clicks_and(sources, labels), sources.documents)


def skim_no_metadata(sources: Sources) -> Supervision:
    """SKIM with synthetic queries written from titles alone (the paper's ablation)."""
    written = needed(sources.written_without_metadata, _SYNTHETIC_WITHOUT)
    return with_titles(_clicks_and(sources, written.labels), sources.documents)


def ips_estimated(sources: Sources) -> Supervision:
    """Clicks, each counted by the inverse propensity of its document (Jain et al., KDD 2016).

    Propensities are a function of how often the raw log clicks a document.
    """
    positions, settings = sources.positions, sources.propensities
    clicked = [
        positions[document_id] for row in sources.log.clicks.values() for document_id in row
    ]
    estimated = propensities_from_clicks(
        np.bincount(clicked, minlength=len(positions)),
        len(sources.queries),
        a=settings.a,
        b=settings.b,
    )
    propensities = {
        query_id: {document_id: float(estimated[positions[document_id]]) for document_id in row}
        for query_id, row in sources.log.clicks.items()
    }
    return _weighted(sources, _ones(sources.log.clicks), _inverse(sources, propensities))


def ips_golden(sources: Sources) -> Supervision:
    """Clicks, each counted by the inverse of the probability it happened with (paper, appendix G)."""
    return _weighted(sources, _ones(sources.log.clicks), _golden_weights(sources))


def lever(sources: Sources) -> Supervision:
    """Clicks, and a siamese teacher's soft labels (Buvanesh et al., LEVER, ICLR 2024).

    The teacher is the encoder: a clicked document hands its label on to its nearest documents, softly.
    """
    targets = _handed_on(sources)
    return _weighted(sources, targets, _ones(targets))


def lever_ips(sources: Sources) -> Supervision:
    """LEVER's labels, clicks among them counted by their golden inverse propensity."""
    targets = _handed_on(sources)
    golden = _golden_weights(sources)
    weights = {
        query_id: {
            document_id: golden.get(query_id, {}).get(document_id, 1.0) for document_id in row
        }
        for query_id, row in targets.items()
    }
    return _weighted(sources, targets, weights)


def gandalf(sources: Sources) -> Supervision:
    """Clicks, and documents' titles labelled with documents clicked together (Kharbanda et al., Gandalf, 2024).

    A document's soft labels are the shares of its queries whose other clicks they are; those below
    the threshold are dropped.
    """
    clicked = pair_matrix(sources.queries, sources.positions, _ones(sources.log.clicks))
    together = (clicked.T @ clicked).tocoo()
    queries_of = together.tocsr().diagonal()
    rows, columns = together.coords
    shares = together.data / queries_of[rows]
    kept = (shares >= _CO_OCCURRENCE) & (rows != columns)
    documents = np.arange(len(sources.documents))
    graph = sp.coo_array(
        (
            np.concatenate([np.ones(len(documents)), shares[kept]]).astype(np.float32),
            (np.concatenate([documents, rows[kept]]), np.concatenate([documents, columns[kept]])),
        ),
        shape=together.shape,
    ).tocsr()
    ones = graph.copy()
    ones.data[:] = 1
    titles = [document.title for document in sources.documents]
    return with_texts(_clicks_and(sources, {}), titles, LabelMatrix(graph, ones))


def unmapped(sources: Sources) -> Supervision:
    """Clicks, and synthetic queries trained on as queries of their own (InPars-like)."""
    written = needed(sources.written, _SYNTHETIC)
    return with_synthetic_queries(clicks(sources), sources.positions, written.synthetic_queries)


def unmapped_no_metadata(sources: Sources) -> Supervision:
    """The same, written without metadata (Saad-Falcon et al., UDAPDR, EMNLP 2023)."""
    written = needed(sources.written_without_metadata, _SYNTHETIC_WITHOUT)
    return with_synthetic_queries(clicks(sources), sources.positions, written.synthetic_queries)


def skim_and_unmapped(sources: Sources) -> Supervision:
    """SKIM's labels, and the synthetic queries they came from as queries of their own.

    The paper keeps the query distribution as it is and never trains on synthetic queries; here the log is
    small beside them, and what maps to no train query teaches as well.
    """
    written = needed(sources.written, _SYNTHETIC)
    return with_synthetic_queries(skim(sources), sources.positions, written.synthetic_queries)


def skim_preset_and_unmapped(sources: Sources) -> Supervision:
    """The same with the labels of the paper's preset."""
    written = needed(sources.written, _SYNTHETIC)
    return with_synthetic_queries(
        skim_preset(sources), sources.positions, written.synthetic_queries
    )


def missing_at_random(sources: Sources) -> Supervision:
    """As many pairs as there are clicks, drawn at random from the truth: a log without bias."""
    truth = needed(sources.truth, _TRUTH)
    pairs = sorted((query_id, each) for query_id, row in truth.items() for each in row)
    size = min(count(sources.log.clicks), len(pairs))
    drawn: dict[str, dict[str, float]] = defaultdict(dict)
    for query_id, document_id in random.Random(sources.seed).sample(pairs, size):
        drawn[query_id][document_id] = 1.0
    return _weighted(sources, drawn, drawn)


def full_truth(sources: Sources) -> Supervision:
    """All relevant pairs of train queries: what perfect labels would give."""
    truth = _ones(needed(sources.truth, _TRUTH))
    return _weighted(sources, truth, truth)


def full_truth_and_unmapped(sources: Sources) -> Supervision:
    """Perfect labels and the synthetic queries: what SKIM's labels could give if all were right and none were missing."""
    written = needed(sources.written, _SYNTHETIC)
    return with_synthetic_queries(
        full_truth(sources), sources.positions, written.synthetic_queries
    )


def _clicks_and(sources: Sources, labels: Pairs) -> Supervision:
    return of_labels(sources.queries, sources.positions, sources.log.clicks, labels, sources.use)


def _weighted(sources: Sources, targets: Pairs, weights: Pairs) -> Supervision:
    weighted = of_pairs(sources.queries, sources.positions, targets, weights)
    return with_titles(weighted, sources.documents)


def _golden_weights(sources: Sources) -> Pairs:
    golden = needed(sources.log.propensities, "golden propensities (propensities.tsv)")
    return _inverse(
        sources,
        {
            query_id: {document_id: golden[query_id][document_id] for document_id in row}
            for query_id, row in sources.log.clicks.items()
        },
    )


def _inverse(sources: Sources, propensities: Pairs) -> Pairs:
    """Return 1 / propensity, bounded: a few clicks of tiny propensity would drown all others."""
    least = 1 / sources.propensities.largest_weight
    return {
        query_id: {document_id: 1 / max(value, least) for document_id, value in row.items()}
        for query_id, row in propensities.items()
    }


def _handed_on(sources: Sources) -> Pairs:
    """Return each click with target 1 and its document's neighbours with the teacher's target."""
    ids = [document.id for document in sources.documents]
    positions = sources.positions
    clicked = sorted({positions[each] for row in sources.log.clicks.values() for each in row})
    if not clicked:
        return {}
    cosines, nearest = flat_index(sources.described).search(
        sources.described[clicked], _NEIGHBOURS + 1
    )
    targets = 1 / (1 + np.exp(-_TEACHER_SCALE * (cosines - _TEACHER_THRESHOLD)))
    neighbours = {
        ids[own]: {
            ids[other]: float(target)
            for other, target in zip(others, row, strict=True)
            if other != own
        }
        for own, others, row in zip(clicked, nearest.tolist(), targets.tolist(), strict=True)
    }
    handed: dict[str, dict[str, float]] = {}
    for query_id, row in sources.log.clicks.items():
        soft: dict[str, float] = defaultdict(float)
        for document_id in row:
            for other, target in neighbours[document_id].items():
                soft[other] = max(soft[other], target)
        handed[query_id] = {**soft, **dict.fromkeys(row, 1.0)}
    return handed


def _ones(pairs: Pairs) -> Pairs:
    return {query_id: dict.fromkeys(row, 1.0) for query_id, row in pairs.items()}
