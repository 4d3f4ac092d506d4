import numpy as np
import pytest
import scipy.sparse as sp
import torch

from services.training.classifiers import LabelMatrix
from services.training.query_batches import (
    balanced_clusters,
    batches_in_epoch,
    block_of,
    epoch_batches,
)

RANDOM = np.random.default_rng(0)
LABELS = sp.csr_array((RANDOM.random((40, 30)) < 0.2).astype(np.float32))


def batches_of(
    clusters: np.ndarray | None, random_share: float = 0.0, seed: int = 0, pairs_per_query: int = 4
) -> list[np.ndarray]:
    return epoch_batches(
        LABELS,
        clusters,
        batch_size=16,
        pairs_per_query=pairs_per_query,
        random_share=random_share,
        random=np.random.default_rng(seed),
    )


def test_clusters_are_balanced_and_hold_what_is_similar() -> None:
    centres = np.eye(4, dtype=np.float32)
    vectors = np.repeat(centres, 8, axis=0) + 0.01 * RANDOM.random((32, 4), dtype=np.float32)

    clusters = balanced_clusters(torch.from_numpy(vectors), 8, np.random.default_rng(0))

    assert np.bincount(clusters).tolist() == [8, 8, 8, 8]
    assert all(len(set(clusters[start : start + 8])) == 1 for start in range(0, 32, 8))


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_every_row_has_a_cluster_and_none_is_larger_than_allowed(rows: int) -> None:
    vectors = RANDOM.random((rows, 5), dtype=np.float32)

    sizes = np.bincount(balanced_clusters(torch.from_numpy(vectors), 6, np.random.default_rng(0)))

    assert sizes.sum() == rows
    assert sizes.max() <= 6
    assert np.median(sizes) >= (1 if rows <= 6 else 3)


def test_equal_vectors_can_be_clustered() -> None:
    clusters = balanced_clusters(torch.ones(9, 3), 3, np.random.default_rng(0))

    assert np.bincount(clusters).max() <= 3


@pytest.mark.parametrize("clusters", [None, np.arange(40) // 4], ids=["random", "clustered"])
def test_an_epoch_has_each_querys_labels_once_up_to_the_limit(clusters: np.ndarray | None) -> None:
    batches = batches_of(clusters, random_share=0.3)
    pairs = np.concatenate(batches)

    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert all(LABELS[row, column] == 1 for row, column in pairs.tolist())
    assert (
        np.bincount(pairs[:, 0], minlength=40).tolist()
        == np.minimum(np.diff(LABELS.indptr), 4).tolist()
    )
    assert len(batches) == batches_in_epoch(LABELS, 16, 4)
    assert {len(batch) for batch in batches} <= {
        len(batches[0]),
        len(batches[0]) + 1,
        len(batches[0]) - 1,
    }


def test_a_batch_holds_whole_clusters_but_for_the_random_share() -> None:
    clusters = np.arange(40) // 4

    def clusters_in_batches(batches: list[np.ndarray]) -> float:
        return float(np.mean([len(set(clusters[batch[:, 0]])) for batch in batches]))

    whole = clusters_in_batches(batches_of(clusters))
    mixed = clusters_in_batches(batches_of(clusters, random_share=0.5))
    random = clusters_in_batches(batches_of(None))

    assert whole < 3
    assert whole < mixed < random


def test_the_order_is_the_random_generators() -> None:
    first, again, other = (np.concatenate(batches_of(None, seed=seed)) for seed in (1, 1, 2))

    assert (first == again).all()
    assert not (first == other).all()


def test_a_block_holds_every_label_among_its_queries_and_documents() -> None:
    targets = LABELS.copy()
    targets.data[:] = np.linspace(0, 1, targets.nnz)  # one of them is 0, and a label all the same
    weights = LABELS.copy()
    weights.data[:] = np.linspace(1, 2, targets.nnz)
    pairs = batches_of(None)[0]

    block = block_of(LabelMatrix(targets, weights), pairs)

    part = np.ix_(block.queries, block.documents)
    assert (block.is_positive == (LABELS.toarray()[part] == 1)).all()
    assert (block.targets == targets.toarray()[part]).all()
    assert (block.weights == weights.toarray()[part]).all()
    drawn = {
        (block.queries[row], block.documents[column])
        for row, column in zip(*block.is_drawn.nonzero(), strict=True)
    }
    assert drawn == {tuple(pair) for pair in pairs.tolist()}
