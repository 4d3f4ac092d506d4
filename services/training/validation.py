"""How a model ranks for validation queries: what a bundle says of itself, so that one can be compared with another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.training.embeddings import CachedEncoder
from services.training.labels import only_of, only_relevant, pair_matrix
from services.training.metrics import measure
from services.training.supervision import positions_of
from services.training.train import embed_queries
from shared.ad_index import flat_index
from shared.dataset import Dataset

_SHOWN = ("P@1", "recall@10", "recall@100")


def validation_metrics(
    vectors: NDArray[np.float32], dataset: Dataset, encoder: CachedEncoder
) -> dict[str, float]:
    """Return `P@1`, `recall@10` and `recall@100` on the truth of validation queries, and the same on their clicks.

    Clicks favour what the log's own policy showed, and say so by their name. A share of the truth also chose the mixing
    weight. Test queries are never looked at; without validation queries there is nothing to tell.

    Args:
        vectors: (documents, dimensions) float32 of the model.
        dataset: that it was trained on.
        encoder: of the queries.
    """
    queries, positions = dataset.queries_of("validation"), positions_of(dataset.documents)
    told: dict[str, float] = {}
    for kind, pairs in (("validation", dataset.truth), ("validation clicks", dataset.clicks)):
        known = only_of(only_relevant(pairs), queries, positions)
        judged = [query for query in queries if query.id in known]
        if not judged:
            continue
        ranked = flat_index(vectors).search(embed_queries(judged, encoder), 100)[1]
        measured = measure(ranked, pair_matrix(judged, positions, known))
        told |= {f"{kind}: {name}": round(measured[name].mean, 4) for name in _SHOWN}
        told[f"{kind}: queries"] = len(judged)
    return told
