from pathlib import Path

import numpy as np
import pytest

from shared import index_choice
from shared.ad_index import (
    Allowed,
    FaissIndex,
    IndexCard,
    build_index,
    flat_index,
    read_index,
    write_index,
)
from shared.errors import Damaged, InvalidInput, NotFound
from shared.index_choice import EFS, MIN_RECALL, _judges, choose_index, recall_of
from shared.vector_files import read_vectors, write_vectors


def vectors_of(ads: int, dimensions: int = 8) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ads, dimensions)).astype(np.float32)


def test_search_gives_the_largest_inner_products_best_first() -> None:
    vectors, queries = vectors_of(50), vectors_of(3)[::-1].copy()
    exact = queries @ vectors.T

    scores, positions = flat_index(vectors).search(queries, 5)

    assert positions.tolist() == np.argsort(-exact, axis=1)[:, :5].tolist()
    assert scores == pytest.approx(np.take_along_axis(exact, positions, axis=1), rel=1e-5)
    assert (scores.dtype, positions.dtype) == (np.float32, np.int64)


def test_a_longer_vector_wins_over_a_shorter_one_of_the_same_direction() -> None:
    index = flat_index(np.array([[1, 0], [3, 0]], dtype=np.float32))

    _, positions = index.search(np.array([[1, 0]], dtype=np.float32), 2)

    assert positions.tolist() == [[1, 0]]


def test_k_is_cut_to_the_number_of_ads() -> None:
    scores, positions = flat_index(vectors_of(3)).search(vectors_of(2), 100)

    assert scores.shape == positions.shape == (2, 3)
    assert sorted(positions[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("queries", "k"), [(vectors_of(1, dimensions=7), 1), (vectors_of(1)[0], 1), (vectors_of(1), 0)]
)
def test_a_query_that_does_not_fit_is_refused(queries: np.ndarray, k: int) -> None:
    with pytest.raises(InvalidInput):
        flat_index(vectors_of(3)).search(queries, k)


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidInput, match="NaN"):
        flat_index(np.array([[np.nan, 1]], dtype=np.float32))


def test_written_vectors_are_read_back(tmp_path: Path) -> None:
    write_vectors(tmp_path, vectors_of(4))

    assert (read_vectors(tmp_path) == vectors_of(4)).all()


def test_no_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"vectors\.npy"):
        read_vectors(tmp_path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), dtype=np.float64),
        np.zeros(3, dtype=np.float32),
        np.zeros((0, 3), dtype=np.float32),
        np.array([[np.inf]], dtype=np.float32),
        np.array([[{"a": 1}]], dtype=object),
    ],
)
def test_another_array_is_damaged(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "vectors.npy", array)

    with pytest.raises(Damaged, match=r"vectors\.npy"):
        read_vectors(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_array_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vectors.npy").write_bytes(content)

    with pytest.raises(Damaged, match=r"vectors\.npy"):
        read_vectors(tmp_path)


KINDS = [f"{each}{bits}" for each in ("flat", "hnsw", "ivf") for bits in ("", "_fp16", "_sq8")]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_allowed_is_found_and_as_much_as_there_is(kind: str) -> None:
    vectors, random = vectors_of(3_000, 16), np.random.default_rng(1)
    index = build_index(vectors, kind, width=64)
    for share in (0.002, 0.3, 1.0):
        mask = random.random(3_000) < share
        scores, positions = index.search(vectors_of(4, 16), 20, Allowed(mask))

        assert positions.shape == (4, min(20, int(mask.sum())))
        assert mask[positions].all()
        assert all(len(set(row)) == len(row) for row in positions.tolist())
        assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_allowed_is_nothing_found(kind: str) -> None:
    index = build_index(vectors_of(50), kind, width=16)

    scores, positions = index.search(vectors_of(2), 5, Allowed(np.zeros(50, dtype=bool)))

    assert scores.shape == positions.shape == (2, 0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flat"])
def test_an_index_is_read_back_as_it_was(tmp_path: Path, kind: str) -> None:
    index = build_index(vectors_of(500), kind, width=32)
    write_index(tmp_path, index)

    again = read_index(tmp_path, index.card, (500, 8))

    assert (again.search(vectors_of(9), 5)[1] == index.search(vectors_of(9), 5)[1]).all()
    assert again.vector(7) == pytest.approx(vectors_of(500)[7], abs=0.05)
    with pytest.raises(Damaged, match="expected"):
        read_index(tmp_path, index.card, (499, 8))


def test_few_ads_are_scanned_and_many_get_a_graph_that_finds_what_the_scan_finds() -> None:
    vectors = vectors_of(2_000, 16)
    few, many = choose_index(vectors), choose_index(vectors, flat_ads=1_000)

    assert few.card == IndexCard(kind="flat")
    assert many.card.kind == "hnsw_fp16"
    assert many.card.recall_at_10 >= 0.99
    assert recall_of(many, few, vectors_of(50, 16)[::-1].copy()) > 0.95


def test_a_graph_is_searched_as_widely_as_it_must_be_and_no_more() -> None:
    vectors = vectors_of(2_000, 32)

    graph = choose_index(vectors, flat_ads=100)

    narrower = [ef for ef in EFS if ef < graph.card.ef]
    _, judges = _judges(vectors, None)
    assert narrower, "the width would be chosen by nothing"
    searched = FaissIndex(graph.index, IndexCard(kind="hnsw_fp16", ef=narrower[-1]))
    assert recall_of(searched, flat_index(vectors), judges) < MIN_RECALL
    assert recall_of(graph, flat_index(vectors), judges) == pytest.approx(
        graph.card.recall_at_10, abs=1e-4
    )


@pytest.mark.parametrize("kind", ["ivf", "ivf_sq8"])
def test_lists_may_all_be_read_and_then_nothing_is_missed(kind: str) -> None:
    vectors, queries = vectors_of(3_000, 16), vectors_of(40, 16)[::-1].copy()
    storage = "flat" if kind == "ivf" else "flat_sq8"
    exact = build_index(vectors, storage).search(queries, 10)

    narrow, wide = (build_index(vectors, kind, width=width) for width in (1, 64))

    hits = [(each.search(queries, 10)[1] == exact[1]).mean() for each in (narrow, wide)]
    assert hits[0] < 0.9 < hits[1]
    found = narrow.search_exactly(queries, 10)
    assert found[0] == pytest.approx(exact[0], abs=0.02)  # each trained its own 8 bits
    assert (found[1] == exact[1]).mean() > (0.9 if kind == "ivf_sq8" else 0.999)


def clustered_of(count: int, places_count: int) -> np.ndarray:
    """Return unit vectors around places far from each other."""
    random = np.random.default_rng(0)
    places = random.standard_normal((places_count, 32)).astype(np.float32)
    rows = places[random.integers(places_count, size=count)]
    vectors = rows + 0.3 * random.standard_normal(rows.shape).astype(np.float32)
    normed: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed


def test_of_very_many_ads_lists_are_read_where_few_of_them_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = clustered_of(8_000, 400)

    lists = choose_index(vectors, vectors[:200], flat_ads=1_000, list_ads=8_000)

    assert lists.card.kind == "ivf_fp16"
    assert 1 <= lists.card.nprobe <= lists.index.nlist / 64
    assert lists.card.recall_at_10 >= MIN_RECALL
    assert (
        choose_index(vectors, vectors[:200], flat_ads=1_000, list_ads=8_001).card.kind
        == "hnsw_fp16"
    )
    assert (
        choose_index(vectors, vectors[:200], flat_ads=1_000, list_ads=8_000, max_bytes=1_000).card
        == lists.card
    )
    monkeypatch.setattr(index_choice, "_STORAGE_RECALL", 0.5)
    monkeypatch.setattr(index_choice, "MIN_RECALL", 0.5)
    small = choose_index(vectors, vectors[:200], flat_ads=1_000, list_ads=8_000, max_bytes=1_000)
    assert small.card.kind == "ivf_sq8"


def test_who_asks_for_more_ads_finds_no_smaller_share_of_them() -> None:
    vectors = clustered_of(8_000, 4)
    lists, exact = build_index(vectors, "ivf_fp16", width=8), flat_index(vectors)

    few, many = (recall_of(lists, exact, vectors[:100], k) for k in (10, 100))

    assert few < 0.9, "nothing is left out, however many are asked for"
    assert many >= few


def test_where_few_lists_are_not_enough_there_is_a_graph_and_where_none_does_more_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = clustered_of(8_000, 100)
    monkeypatch.setattr(index_choice, "_NARROW", 0.0)  # one list

    assert choose_index(vectors, flat_ads=1_000, list_ads=8_000).card.kind == "hnsw_fp16"
    monkeypatch.setattr(index_choice, "EFS", (1, 2))
    lists = choose_index(vectors, flat_ads=1_000, list_ads=8_000)
    assert lists.card.kind == "ivf_fp16"
    assert 1 < lists.card.nprobe <= lists.index.nlist / 8


def test_where_no_graph_finds_enough_every_ad_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_choice, "EFS", (1, 2))

    assert choose_index(vectors_of(2_000, 32), flat_ads=100).card == IndexCard(kind="flat")


def test_enough_is_found_for_queries_as_they_are_asked_however_easy_the_others_are() -> None:
    vectors = vectors_of(2_000, 16)
    asked = vectors_of(2_030, 16)[2_000:]

    index = choose_index(vectors, asked, flat_ads=100)

    exact = flat_index(vectors)
    recalls = [recall_of(index, exact, each) for each in _judges(vectors, asked)]
    assert len(asked) < 200, "then nobody else judges"
    assert min(recalls) >= MIN_RECALL
    assert index.card.recall_at_10 == pytest.approx(min(recalls), abs=1e-4)


def test_ads_of_equal_score_may_stand_for_each_other_and_no_others() -> None:
    exact = flat_index(np.repeat(vectors_of(20), 2, axis=0))

    class Shifted:
        """Finds what lies so many positions further."""

        def __init__(self, by: int) -> None:
            self.by = by

        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            scores, positions = exact.search(queries, k)
            return scores, positions ^ self.by

    assert recall_of(Shifted(1), exact, vectors_of(9), 1) == 1
    assert recall_of(Shifted(2), exact, vectors_of(9), 1) == 0


def test_where_memory_counts_vectors_are_kept_in_8_bits_if_recall_allows_it() -> None:
    vectors = vectors_of(40, 256)
    coarse = np.concatenate([vectors, 1e6 * vectors[:1]])  # 8 bits cannot tell the others apart

    assert choose_index(vectors, max_bytes=10**9).card.kind == "flat"
    assert choose_index(vectors, max_bytes=1_000).card.kind == "flat_sq8"
    assert choose_index(coarse, vectors, max_bytes=1_000).card.kind == "flat"
