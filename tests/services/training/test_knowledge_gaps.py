"""Every figure of a log that fits in the head.

clusters     A: q0, q1     B: q2, q3
clicks       q0-d0
labels       q0-d0 (a click), q1-d1, q2-d2, q3-d2, q3-d3; t0-d3 is of a test query
truth        q0-d0, q0-d1, q1-d1, q2-d3; q3 is not judged
written      d0: a, b    d1: b    d2: c    d3: nothing
"""

from dataclasses import replace

import numpy as np
import pytest

from services.training.knowledge_gaps import EmbeddedQueries, GapSettings, find_gaps
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query
from shared.errors import InvalidInput
from shared.report_page.gap_figures import KnowledgeGaps

DATASET = Dataset(
    documents=[Document(id=f"d{number}", title=f"title {number}") for number in range(4)],
    queries=[
        *(Query(id=f"q{number}", text=f"query {number}") for number in range(4)),
        Query(id="t0", text="held out", split="test"),
    ],
    clicks={"q0": {"d0": 3.0}, "t0": {"d1": 1.0}},
    truth={
        "q0": {"d0": 1.0, "d1": 1.0},
        "q1": {"d1": 1.0, "d2": 0.0},
        "q2": {"d3": 1.0},
        "t0": {"d0": 1.0},
    },
)
LABELS = {
    "q0": {"d0": 0.9},
    "q1": {"d1": 0.8},
    "q2": {"d2": 0.7},
    "q3": {"d2": 0.95, "d3": 0.65},
    "t0": {"d3": 0.99},
}
WRITTEN = [
    SyntheticQueries(document_id="d0", queries=["a", "b"]),
    SyntheticQueries(document_id="d1", queries=["b"]),
    SyntheticQueries(document_id="d2", queries=["c"]),
    SyntheticQueries(document_id="d3", queries=[]),
]
EMBEDDED = EmbeddedQueries(
    ["a", "b", "c"],
    np.eye(3, dtype=np.float32)[:, :2] + np.float32(1e-3),
    np.array([0.9, 0.5, 0.6], dtype=np.float32),
)
VECTORS = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
SETTINGS = GapSettings(query_clusters=2, hub_document_share=0.5)


def found(dataset: Dataset = DATASET) -> KnowledgeGaps:
    return find_gaps(
        dataset, LABELS, WRITTEN, EMBEDDED, VECTORS, min_similarity=0.6, settings=SETTINGS
    )


@pytest.fixture
def gaps() -> KnowledgeGaps:
    return found()


def test_a_label_that_is_a_click_and_one_of_a_held_out_query_add_nothing(
    gaps: KnowledgeGaps,
) -> None:
    assert (gaps.documents, gaps.train_queries, gaps.clicks, gaps.labels_added) == (4, 4, 1, 4)


def test_documents_without_a_click_are_counted_with_those_reached_and_rightly_so(
    gaps: KnowledgeGaps,
) -> None:
    documents = gaps.document_gaps

    assert (documents.without_click, documents.reached, documents.reached_rightly) == (3, 3, 1)


def test_an_example_names_the_document_and_its_most_similar_train_query(
    gaps: KnowledgeGaps,
) -> None:
    first = gaps.document_gaps.examples[0]

    assert (first.title, first.labels, first.query, first.similarity) == (
        "title 2",
        2,
        "query 3",
        0.95,
    )


def test_a_cluster_without_a_click_that_labels_reached_is_shown(gaps: KnowledgeGaps) -> None:
    clusters = gaps.cluster_gaps

    assert (clusters.clusters, clusters.without_click, clusters.reached) == (2, 1, 1)
    assert clusters.examples[0].model_dump() == {
        "queries": ["query 2", "query 3"],
        "train_queries": 2,
        "labels": 3,
        "documents": 2,
    }


def test_coverage_rises_from_clicks_to_clicks_and_labels(gaps: KnowledgeGaps) -> None:
    assert [tuple(point.model_dump().values()) for point in gaps.coverage] == [
        (1, 0.25, 1.0, 0.25, 1.0),
        (2, 0.0, 0.25, 0.0, 0.25),
    ]


def test_relevant_pairs_in_cells_without_a_click_are_out_of_reweightings_reach(
    gaps: KnowledgeGaps,
) -> None:
    # of q0-d0, q0-d1, q1-d1, q2-d3 only d0 was clicked in cluster A; labels found q1-d1
    assert gaps.unreachable.model_dump() == {
        "basis": "truth",
        "pairs": 4,
        "in_empty_cells": 3,
        "share": 0.75,
        "labelled": 1,
    }


def test_a_click_of_a_neighbour_query_fills_the_cell() -> None:
    gaps = found(replace(DATASET, clicks={"q0": {"d0": 1.0, "d1": 1.0}}))

    assert gaps.unreachable.in_empty_cells == 1  # q2-d3; q1-d1 shares its cell with q0-d1


def test_without_truth_the_labels_are_what_reweighting_cannot_reach() -> None:
    gaps = found(replace(DATASET, truth={"t0": {"d0": 1.0}}))

    assert (gaps.unreachable.basis, gaps.unreachable.pairs) == ("labels", 4)
    assert (gaps.unreachable.share, gaps.unreachable.labelled) == (1.0, None)
    assert gaps.document_gaps.reached_rightly is None


def test_a_synthetic_query_below_tau_is_demand_the_log_never_saw(gaps: KnowledgeGaps) -> None:
    unmapped = gaps.unmapped

    assert (unmapped.synthetic_queries, unmapped.unmapped) == (3, 1)  # .6 reaches tau
    assert unmapped.share == pytest.approx(1 / 3)
    assert unmapped.documents == 1  # d1; d0 has another one, d3 has none
    assert unmapped.examples[0].model_dump() == {
        "queries": ["b"],
        "synthetic_queries": 1,
        "documents": 2,
    }


def test_a_hub_holds_labels_of_a_share_of_the_documents(gaps: KnowledgeGaps) -> None:
    hubs = gaps.hubs

    assert (hubs.train_queries, hubs.label_share) == (1, 0.5)
    assert hubs.examples[0].model_dump() == {
        "query": "query 3",
        "documents": 2,
        "label_share": 0.5,
        "clicks": 0,
        "precision": None,
    }
    assert {hub.query: hub.precision for hub in hubs.examples[1:]} == {
        "query 1": 1.0,
        "query 2": 0.0,
    }


def test_a_log_without_clicks_or_labels_has_gaps_only() -> None:
    gaps = find_gaps(
        replace(DATASET, clicks={}),
        {},
        [],
        EmbeddedQueries([], np.empty((0, 2), np.float32), np.empty(0, np.float32)),
        VECTORS,
        min_similarity=0.6,
    )

    assert (gaps.document_gaps.without_click, gaps.document_gaps.reached) == (4, 0)
    assert (gaps.unmapped.share, gaps.hubs.label_share, gaps.unreachable.share) == (0, 0, 1)


def test_the_report_survives_json(gaps: KnowledgeGaps) -> None:
    assert KnowledgeGaps.model_validate_json(gaps.model_dump_json()) == gaps


def test_a_missing_vector_is_told() -> None:
    with pytest.raises(InvalidInput, match="3 vectors of 4 train queries"):
        find_gaps(DATASET, LABELS, WRITTEN, EMBEDDED, VECTORS[:3], min_similarity=0.6)


def test_a_folder_without_train_queries_is_told() -> None:
    with pytest.raises(InvalidInput, match="0 train queries"):
        find_gaps(
            replace(DATASET, queries=DATASET.queries_of("test")),
            LABELS,
            WRITTEN,
            EMBEDDED,
            VECTORS,
            min_similarity=0.6,
        )
