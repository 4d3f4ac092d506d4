"""From a data set to a peer's job, and from its answer to our metrics: the same for every peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from loadtests.peers.retrieval.protocol import NOBODY, RetrievalJob
from services.training.labels import only_of, pair_matrix
from services.training.metrics import bootstrap, measure, propensities_from_clicks
from services.training.supervision import positions_of
from shared.cold_start import Tower
from shared.dataset import Dataset
from shared.errors import InvalidInput

Part = Literal["test", "validation"]
METRICS = {
    "recall@10": "recall_at_10",
    "recall@25": "recall_at_25",
    "recall@100": "recall_at_100",
    "P@1": "precision_at_1",
    "nDCG@10": "ndcg_at_10",
    "PSP@5": "psp_at_5",
}
"""Our metrics that are told of a peer, under their names in JSON."""


@dataclass(frozen=True)
class Task:
    """A job and what its answers are judged by, which no peer sees."""

    job: RetrievalJob
    truth: sp.csr_array
    """(test queries, documents) relevance; no empty rows."""
    propensities: NDArray[np.float64]
    """(documents,) of raw clicks."""


def task_of(dataset: Dataset, tower: Tower, part: Part = "test") -> Task:
    """Return what peers do on a data set.

    Args:
        dataset: its train queries' clicks are learned from; queries of `part` with truth are asked.
        tower: what is read of a document, as our towers read it.
        part: "validation" to choose a peer's settings by, without a look at test queries.

    Raises:
        InvalidInput: there is no click, or no query to ask.
    """
    documents, train = dataset.documents, dataset.queries_of("train")
    positions = positions_of(documents)
    clicks = only_of(dataset.clicks, train, positions)
    clicked = [query for query in train if query.id in clicks]
    if not clicked:
        raise InvalidInput(f"no click of any of {len(train)} train queries")
    relevant = {
        query_id: {document_id: grade for document_id, grade in row.items() if grade > 0}
        for query_id, row in dataset.truth.items()
    }
    truth = only_of(relevant, dataset.queries_of(part), positions)
    asked = [query for query in dataset.queries_of(part) if query.id in truth]
    if not asked:
        raise InvalidInput(f"no truth for any {part} query")
    pairs = [
        (row, positions[document_id])
        for row, query in enumerate(clicked)
        for document_id in clicks[query.id]
    ]
    job = RetrievalJob(
        documents=[doc.title if tower == "title" else doc.described() for doc in documents],
        queries=[query.text for query in clicked],
        clicks=pairs,
        test_queries=[query.text for query in asked],
    )
    clicks_per_document = np.bincount(
        [document for _, document in pairs], minlength=len(documents)
    )
    return Task(
        job,
        pair_matrix(asked, positions, truth),
        propensities_from_clicks(clicks_per_document, len(train)),
    )


def judged(ranked: NDArray[np.int64], task: Task) -> dict[str, float]:
    """Return each metric with the bounds of its 95 % interval, as NAME, NAME_low and NAME_high.

    Args:
        ranked: (test queries, ranks) document positions, `NOBODY` where there is none.
        task: what was asked.
    """
    queries, documents = task.truth.shape
    # one more document, relevant to nobody, stands for those that a peer did not find
    wider = sp.csr_array(
        (task.truth.data, task.truth.indices, task.truth.indptr), shape=(queries, documents + 1)
    )
    found = measure(
        np.where(ranked == NOBODY, documents, ranked),
        wider,
        propensities=np.append(task.propensities, 1.0),
    )
    intervals = bootstrap({name: found[name] for name in METRICS})
    figures: dict[str, float] = {}
    for metric, name in METRICS.items():
        interval = intervals[metric]
        figures |= {
            name: interval.value,
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
        }
    return figures
