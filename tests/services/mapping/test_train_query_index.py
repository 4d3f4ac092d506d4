import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtests.vectors import clustered
from services.mapping.index_files import load_index, read_manifest, save_index
from services.mapping.segmented_graph import HnswParameters
from services.mapping.train_query_index import TrainQueryIndex
from shared.dataset import Query
from shared.errors import Conflict, Damaged, InvalidInput, NotFound

TAU = 0.6


def train_queries(count: int) -> list[Query]:
    return [Query(id=f"q{number}", text=f"query {number}") for number in range(count)]


def build(vectors: NDArray[np.float32]) -> TrainQueryIndex:
    return TrainQueryIndex.build(train_queries(len(vectors)), vectors, encoder="e-1", threads=1)


def load(folder: Path, dimensions: int = 16) -> TrainQueryIndex:
    return load_index(folder, encoder="e-1", dimensions=dimensions)


def test_at_least_99_percent_of_the_neighbours_above_tau_are_found() -> None:
    vectors = clustered(4_000, 64, clusters=300, seed=1)
    asked = clustered(400, 64, clusters=300, seed=2, centres_seed=1)
    index = build(vectors)

    found, cosines = index.search(asked, 10)
    truth, true_cosines = index.search_exactly(asked, 10)

    wanted = [set(row[near >= TAU]) for row, near in zip(truth, true_cosines, strict=True)]
    got = [set(row[near >= TAU]) for row, near in zip(found, cosines, strict=True)]
    total = sum(map(len, wanted))
    assert total > 1_000
    assert sum(len(g & w) for g, w in zip(got, wanted, strict=True)) / total >= 0.99


def test_exact_search_is_the_sorted_matrix_product() -> None:
    vectors, asked = clustered(2_500, 16, seed=1), clustered(7, 16, seed=2)

    positions, cosines = build(vectors).search_exactly(asked, 5)

    products = asked @ vectors.T
    assert np.array_equal(positions, np.argsort(-products, axis=1)[:, :5])
    assert np.allclose(cosines, -np.sort(-products, axis=1)[:, :5], atol=1e-6)


def test_equal_cosines_are_ordered_by_position() -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)

    positions, cosines = build(vectors).search(np.eye(4, dtype=np.float32)[[2]], 3)

    assert positions.tolist() == [[6, 7, 8]]
    assert cosines.tolist() == [[1.0, 1.0, 1.0]]


def test_asking_for_more_than_there_are_gives_all() -> None:
    vectors = clustered(2_000, 16, clusters=20, noise=0.0)  # a sparse graph falls into islands
    sparse = HnswParameters(m=2, ef_construction=10)
    index = TrainQueryIndex.build(
        train_queries(2_000), vectors, encoder="e-1", parameters=sparse, threads=1
    )

    positions, cosines = index.search(vectors[:1], 10_000)

    assert sorted(positions[0].tolist()) == list(range(2_000))
    assert (np.diff(cosines[0]) <= 0).all()


def test_no_vectors_give_no_neighbours() -> None:
    positions, cosines = build(clustered(20, 16)).search(np.empty((0, 16), np.float32), 5)

    assert positions.shape == cosines.shape == (0, 5)


@pytest.mark.parametrize(
    ("vectors", "k", "named"),
    [
        (np.full((1, 16), np.nan, np.float32), 5, "NaN"),
        (np.ones((1, 8), np.float32), 5, r"\(1, 8\)"),
        (np.ones(16, np.float32), 5, r"\(16,\)"),
        (np.ones((1, 16), np.float32), 0, "k is 0"),
    ],
)
def test_what_hnswlib_would_take_silently_is_refused(
    vectors: NDArray[np.float32], k: int, named: str
) -> None:
    index = build(clustered(20, 16))

    with pytest.raises(InvalidInput, match=named):
        index.search(vectors, k)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_only_train_queries_are_mapped_to(split: str) -> None:
    queries = [*train_queries(2), Query(id="held-out", text="x", split=split)]

    with pytest.raises(InvalidInput, match="'held-out' is of split"):
        TrainQueryIndex.build(queries, clustered(3, 16), encoder="e-1")


def test_an_empty_index_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no train queries"):
        TrainQueryIndex.build([], np.empty((0, 16), np.float32), encoder="e-1")


def test_vectors_and_queries_must_pair_up() -> None:
    with pytest.raises(InvalidInput, match="3 vectors for 2 train queries"):
        TrainQueryIndex.build(train_queries(2), clustered(3, 16), encoder="e-1")


def test_a_loaded_index_answers_as_the_saved_one(tmp_path: Path) -> None:
    saved, asked = build(clustered(200, 16)), clustered(5, 16, seed=9)
    save_index(saved, tmp_path)

    loaded = load(tmp_path)

    assert loaded.queries == saved.queries
    for before, after in zip(saved.search(asked, 7), loaded.search(asked, 7), strict=True):
        assert np.array_equal(before, after)


def test_saving_again_replaces_the_index_and_leaves_nothing_else(tmp_path: Path) -> None:
    save_index(build(clustered(20, 16)), tmp_path)
    save_index(build(clustered(30, 16)), tmp_path)

    assert len(load(tmp_path)) == 30
    names = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert names == ["index", "journal", "manifest.json", "queries"]


def test_no_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="skim mapping build"):
        load(tmp_path)


def test_an_index_of_format_1_is_one_segment(tmp_path: Path) -> None:
    saved, asked = build(clustered(200, 16)), clustered(5, 16, seed=9)
    manifest = save_index(saved, tmp_path).model_dump(mode="json")
    [graph] = manifest["index"]
    (tmp_path / "manifest.json").write_text(
        json.dumps(manifest | {"format_version": 1, "index": graph})
    )

    loaded = load(tmp_path)

    for before, after in zip(saved.search(asked, 7), loaded.search(asked, 7), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("part", ["index", "queries"])
def test_a_changed_byte_is_found_before_the_file_is_loaded(tmp_path: Path, part: str) -> None:
    save_index(build(clustered(20, 16)), tmp_path)
    manifest = read_manifest(tmp_path)
    file = tmp_path / {"index": manifest.index[0], "queries": manifest.queries}[part].name
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])

    with pytest.raises(Damaged, match="sha256"):
        load(tmp_path)


@pytest.mark.parametrize("part", ["index", "queries"])
def test_a_missing_file_is_named(tmp_path: Path, part: str) -> None:
    save_index(build(clustered(20, 16)), tmp_path)
    manifest = read_manifest(tmp_path)
    file = tmp_path / {"index": manifest.index[0], "queries": manifest.queries}[part].name
    file.unlink()

    with pytest.raises(Damaged, match=file.name):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"format_version": 2}', "[1]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    save_index(build(clustered(20, 16)), tmp_path)
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(Damaged, match=r"manifest\.json"):
        load(tmp_path)


def test_a_manifest_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mapping"
    save_index(build(clustered(20, 16)), folder)
    name = read_manifest(folder).index[0].name
    (folder / name).rename(tmp_path / name)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(name, f"../{name}"))

    with pytest.raises(Damaged, match="missing"):
        load(folder)


@pytest.mark.parametrize(("encoder", "dimensions"), [("e-2", 16), ("e-1", 8)])
def test_an_index_of_another_encoder_is_refused(
    tmp_path: Path, encoder: str, dimensions: int
) -> None:
    save_index(build(clustered(20, 16)), tmp_path)

    with pytest.raises(Conflict, match="built with e-1"):
        load_index(tmp_path, encoder=encoder, dimensions=dimensions)
