from collections.abc import Callable
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from loadtests.vectors import clustered
from services.mapping import segmented_graph
from services.mapping.build_parts import BuildParts
from services.mapping.segmented_graph import HnswParameters, SegmentedGraph
from shared.errors import Damaged

VECTORS = clustered(1_000, 16)
PARAMETERS = HnswParameters(m=8, ef_construction=50)


def built(rows_per_segment: int, kept: BuildParts | None = None) -> SegmentedGraph:
    return SegmentedGraph.build(
        VECTORS, PARAMETERS, rows_per_segment=rows_per_segment, threads=2, kept=kept
    )


def saved(graph: SegmentedGraph, folder: Path) -> list[Path]:
    files = [folder / f"{number}.hnsw" for number in range(len(graph.segments))]
    for segment, file in zip(graph.segments, files, strict=True):
        segment.save_index(str(file))
    return files


@pytest.mark.parametrize(("rows", "sizes"), [(400, [333, 333, 334]), (1_000, [1_000])])
def test_segments_are_of_nearly_one_size(rows: int, sizes: list[int]) -> None:
    graph = built(rows)

    assert [segment.get_current_count() for segment in graph.segments] == sizes
    assert len(graph) == 1_000


@pytest.mark.parametrize("k", [1, 10, 400, 1_000])
def test_what_lies_in_any_segment_is_found_by_its_place_among_all_rows(k: int) -> None:
    graph = built(rows_per_segment=300)
    graph.set_ef(1_000)
    asked = clustered(20, 16, seed=5)

    positions, cosines = graph.search(asked, k)

    exact = asked @ VECTORS.T
    assert np.allclose(cosines, -np.sort(-exact, axis=1)[:, :k], atol=1e-6)
    assert np.allclose(np.take_along_axis(exact, positions, axis=1), cosines, atol=1e-6)


def test_vectors_are_given_back_in_the_order_asked_for() -> None:
    rows = np.array([999, 3, 500, 3, 0])

    assert np.array_equal(built(rows_per_segment=300).vectors(rows), VECTORS[rows])


def test_the_same_rows_make_the_same_graph_whatever_the_threads(tmp_path: Path) -> None:
    contents = []
    for threads in (1, 3):
        graph = SegmentedGraph.build(VECTORS, PARAMETERS, rows_per_segment=300, threads=threads)
        contents.append([file.read_bytes() for file in saved(graph, tmp_path)])

    assert contents[0] == contents[1]


def test_a_loaded_graph_answers_as_the_saved_one(tmp_path: Path) -> None:
    graph = built(rows_per_segment=300)
    loaded = SegmentedGraph.load(saved(graph, tmp_path), 16)

    for before, after in zip(graph.search(VECTORS, 5), loaded.search(VECTORS, 5), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize(("rows_per_segment", "pauses"), [(300, 4), (1_000, 0)])
def test_after_each_segment_others_have_as_long_as_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_segment: int, pauses: int
) -> None:
    files = saved(built(rows_per_segment), tmp_path)
    slept: list[float] = []
    clock = iter(range(100))
    monkeypatch.setattr(segmented_graph.time, "sleep", slept.append)
    monkeypatch.setattr(segmented_graph.time, "monotonic", lambda: next(clock))

    SegmentedGraph.load(files, 16)

    assert slept == [1] * pauses


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.hnsw").write_bytes(b"not a graph")

    with pytest.raises(Damaged, match=r"0\.hnsw"):
        SegmentedGraph.load([tmp_path / "0.hnsw"], 16)


def test_a_build_that_was_killed_goes_on_after_its_last_segment(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(rows: int) -> None:
        if rows > 600:
            raise Killed

    kept = BuildParts(tmp_path / "parts")
    with pytest.raises(Killed):
        SegmentedGraph.build(
            VECTORS, PARAMETERS, rows_per_segment=250, threads=1, tell=kill, kept=kept
        )
    inserted = _insertions(lambda: built(250, kept))

    assert inserted == 500
    assert saved_bytes(built(250, kept), tmp_path) == saved_bytes(built(250), tmp_path)


def test_a_kept_segment_of_other_parameters_or_cut_off_is_built_again(tmp_path: Path) -> None:
    kept = BuildParts(tmp_path)
    built(500, kept)
    for file in tmp_path.glob("*.hnsw"):
        file.write_bytes(file.read_bytes()[:-100])

    assert kept.segment(VECTORS[:500], PARAMETERS) is None
    assert kept.segment(VECTORS[:500], HnswParameters(m=4, ef_construction=50)) is None
    assert saved_bytes(built(500, kept), tmp_path) == saved_bytes(built(500), tmp_path)


def saved_bytes(graph: SegmentedGraph, folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in saved(graph, folder)]


def _insertions(build: Callable[[], object]) -> int:
    """Return how many rows hnswlib is given meanwhile."""
    rows = 0
    add_items = hnswlib.Index.add_items

    def _counted(
        graph: hnswlib.Index, vectors: np.ndarray, *args: object, **named: object
    ) -> None:
        nonlocal rows
        rows += len(vectors)
        add_items(graph, vectors, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hnswlib.Index, "add_items", _counted)
        build()
    return rows
