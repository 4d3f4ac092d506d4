from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from loadtests.peers.retrieval.judging import Task, judged, task_of
from loadtests.peers.retrieval.protocol import NOBODY, RetrievalJob
from shared.errors import InvalidInput
from tests.support.catalogue import DATASET


def test_a_peer_learns_from_clicks_of_train_queries_and_is_asked_queries_with_truth() -> None:
    task = task_of(DATASET, "metadata")

    assert task.job == RetrievalJob(
        documents=["oak bed. soft", "clock"],
        queries=["bed"],
        clicks=[(0, 1), (0, 0)],
        test_queries=["watch"],
    )
    assert task.truth.toarray().tolist() == [[0.0, 1.0]]


def test_the_title_tower_reads_titles_only() -> None:
    assert task_of(DATASET, "title").job.documents == ["oak bed", "clock"]


def test_clicks_and_truth_of_queries_that_are_asked_reach_no_peer() -> None:
    leaking = replace(DATASET, clicks={**DATASET.clicks, "q3": {"d1": 1.0}})

    assert task_of(leaking, "metadata").job == task_of(DATASET, "metadata").job


def test_judgements_of_no_relevance_are_no_truth() -> None:
    judged_useless = replace(DATASET, truth={"q3": {"d2": 0.0}})

    with pytest.raises(InvalidInput, match="no truth for any test query"):
        task_of(judged_useless, "metadata")


def test_a_log_without_clicks_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no click of any of 2 train queries"):
        task_of(replace(DATASET, clicks={}), "metadata")


def test_documents_that_were_not_found_count_as_misses_of_their_own_query_only() -> None:
    # document 1 is relevant to both queries; the second row must not borrow from the first
    truth = sp.csr_array(np.array([[0, 1], [0, 1]], dtype=np.float32))
    task = Task(RetrievalJob(["a", "b"], [], [], ["x", "y"]), truth, np.array([0.5, 0.5]))

    figures = judged(np.array([[1, NOBODY], [NOBODY, NOBODY]]), task)

    assert figures["recall_at_10"] == 0.5
    assert figures["precision_at_1"] == 0.5
    assert figures["recall_at_10_low"] <= 0.5 <= figures["recall_at_10_high"]
