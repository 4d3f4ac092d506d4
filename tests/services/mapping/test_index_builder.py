from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtests.vectors import clustered
from services.mapping.index_builder import build_index
from services.mapping.index_files import load_index, read_manifest
from services.mapping.recall import beside, recall_above_tau, widen
from services.mapping.segmented_graph import HnswParameters
from services.mapping.train_query_index import DEFAULT_EF, TrainQueryIndex
from shared.dataset import Query
from shared.errors import InvalidInput
from tests.support.encoders import BagOfWordsEncoder


def test_the_saved_index_finds_each_query_by_its_own_text(tmp_path: Path) -> None:
    encoder = BagOfWordsEncoder()
    queries = [Query(id=f"q{number}", text=f"thing {number}") for number in range(600)]
    seen: list[tuple[int, int]] = []

    build_index(
        queries,
        encoder,
        tmp_path,
        lambda done, total: seen.append((done, total)),
        parameters=HnswParameters(m=8, ef_construction=50),
    )

    index = load_index(tmp_path, encoder=encoder.name, dimensions=encoder.dimensions)
    positions, _ = index.search(encoder.encode([query.text for query in queries]), 1)
    assert positions[:, 0].tolist() == list(range(600))
    assert index.parameters == HnswParameters(m=8, ef_construction=50)
    assert seen == [(256, 1200), (512, 1200), (600, 1200), (1200, 1200)]
    assert (read_manifest(tmp_path).recall_above_tau or 0) >= 0.99


def test_a_build_that_was_killed_goes_on_with_what_is_encoded(tmp_path: Path) -> None:
    queries = [Query(id=f"q{number}", text=f"thing {number}") for number in range(9_000)]
    few = HnswParameters(m=8, ef_construction=40)

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done > 8_500:
            raise Killed

    looks = ["thing 17"]
    with pytest.raises(Killed):
        build_index(queries, BagOfWordsEncoder(), tmp_path, kill, parameters=few, written=looks)
    encoder = BagOfWordsEncoder()
    build_index(queries, encoder, tmp_path, lambda *_: None, parameters=few, written=looks)

    assert sum(map(len, encoder.calls)) == 9_000 - 8_192 + len(looks)
    assert not (tmp_path / ".parts").exists()
    [(_, cosine)] = load_index(tmp_path, encoder=encoder.name, dimensions=64).nearest(
        encoder.encode(["thing 17"]), 1
    )[0]
    assert cosine == pytest.approx(1, abs=1e-6)


def test_the_search_is_widened_until_what_is_near_finds_its_neighbours() -> None:
    vectors = clustered(3_000, 32)
    queries = [Query(id=str(row), text=str(row)) for row in range(len(vectors))]
    index = TrainQueryIndex.build(
        queries, vectors, encoder="e", parameters=HnswParameters(2, 10), ef=10
    )
    before = recall_above_tau(index, vectors[:200])

    recall = widen(index, beside(vectors, 200))

    assert recall >= 0.99 or index.ef >= 1_024
    assert index.ef > 10
    assert recall_above_tau(index, vectors[:200]) > before


def test_the_search_is_no_wider_than_it_must() -> None:
    vectors = clustered(3_000, 32)
    queries = [Query(id=str(row), text=str(row)) for row in range(len(vectors))]
    index = TrainQueryIndex.build(
        queries, vectors, encoder="e", parameters=HnswParameters(6, 20), ef=10
    )
    looks = beside(vectors, 200)

    recall = widen(index, looks)

    least = index.ef
    assert recall == recall_above_tau(index, looks) >= 0.995
    index.widen(int(least / 1.2))
    assert recall_above_tau(index, looks) < 0.995


def test_synthetic_queries_decide_how_widely_is_searched(tmp_path: Path) -> None:
    """The graph is poor: what is in it is found at once, texts of another kind are not."""
    near = clustered(3_000, 32)
    encoder = _Lookup({"near": near, "far": beside(near, 300)})
    queries = [Query(id=str(row), text=f"near {row}") for row in range(3_000)]
    poor = HnswParameters(m=3, ef_construction=10)

    def ef_by(written: list[str]) -> int:
        build_index(queries, encoder, tmp_path, lambda *_: None, parameters=poor, written=written)
        return read_manifest(tmp_path).ef or 0

    by_own_texts = ef_by([query.text for query in queries])
    far = [f"far {row}" for row in range(300)]
    by_far_texts = ef_by(far)

    index = load_index(tmp_path, encoder=encoder.name, dimensions=32)
    assert index.ef == by_far_texts > by_own_texts
    assert recall_above_tau(index, encoder.encode(far), tau=0.6) >= 0.99


def test_where_no_search_finds_enough_the_graph_is_built_with_more_links(tmp_path: Path) -> None:
    encoder = _Lookup({"near": clustered(2_000, 16, clusters=20, noise=0.0)})
    queries = [Query(id=str(row), text=f"near {row}") for row in range(2_000)]

    index = build_index(
        queries,
        encoder,
        tmp_path,
        lambda *_: None,
        parameters=HnswParameters(m=2, ef_construction=10),
        written=["near 1", "near 700"],
    )

    assert index.parameters.m > 2
    assert read_manifest(tmp_path).m == index.parameters.m


def test_a_version_grows_from_build_to_build(tmp_path: Path) -> None:
    versions = []
    for _ in range(3):
        build_index([Query(id="a", text="a")], BagOfWordsEncoder(), tmp_path, lambda *_: None)
        versions.append(read_manifest(tmp_path).version)

    assert versions == sorted(set(versions))
    assert versions[0] > 10**15


def test_a_test_query_stops_the_build_before_anything_is_written(tmp_path: Path) -> None:
    queries = [Query(id="known", text="a"), Query(id="held-out", text="b", split="test")]

    with pytest.raises(InvalidInput, match="held-out"):
        build_index(queries, BagOfWordsEncoder(), tmp_path / "mapping", lambda *_: None)

    assert not (tmp_path / "mapping").exists()


class _Lookup:
    """Encodes "KIND ROW" as a row of the vectors of that kind."""

    name = "lookup"

    def __init__(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        self._vectors = vectors
        self.dimensions = next(iter(vectors.values())).shape[1]

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        pairs = [text.split() for text in texts]
        return np.stack([self._vectors[kind][int(row)] for kind, row in pairs])


def test_a_small_graph_is_searched_no_narrower_than_is_usual(tmp_path: Path) -> None:
    encoder = BagOfWordsEncoder()
    queries = [Query(id=str(row), text=f"thing{row}") for row in range(50)]

    build_index(queries, encoder, tmp_path, lambda *_: None, written=["thing3"])

    assert read_manifest(tmp_path).ef == DEFAULT_EF
