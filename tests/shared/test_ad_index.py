from pathlib import Path

import numpy as np
import pytest

from shared.ad_index import flat_index, read_vectors, write_vectors
from shared.errors import Damaged, InvalidInput, NotFound


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
