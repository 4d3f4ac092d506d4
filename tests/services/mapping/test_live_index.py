"""What is put and deleted, against a plain list that is searched by hand."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from loadtests.vectors import clustered
from services.mapping.train_query_index import TrainQueryIndex
from shared.dataset import Query
from shared.errors import InvalidInput

VECTORS = clustered(400, 16, clusters=40, seed=3)
ASKED = clustered(6, 16, clusters=40, seed=4, centres_seed=3)


def query(number: int, text: str = "") -> Query:
    return Query(id=f"q{number}", text=text or f"text {number}")


def built(count: int) -> TrainQueryIndex:
    return TrainQueryIndex.build(
        [query(number) for number in range(count)], VECTORS[:count], encoder="e-1", threads=1
    )


def ids(index: TrainQueryIndex, asked: NDArray[np.float32], k: int) -> list[list[str]]:
    return [[found.id for found, _ in row] for row in index.nearest(asked, k)]


@dataclass
class Plain:
    """The same train queries in a dictionary."""

    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def cosines(self, asked: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        if not self.vectors:
            return np.empty((len(asked), 0), np.float32)
        return -np.sort(-asked @ np.stack(list(self.vectors.values())).T, axis=1)[:, :k]


class AnyOrder(RuleBasedStateMachine):
    """Puts, deletes and rebuilds in any order give what a plain list gives."""

    @initialize(count=st.integers(1, 60))
    def build(self, count: int) -> None:
        self.index = built(count)
        self.plain = Plain({f"q{number}": VECTORS[number] for number in range(count)})
        self.version = 0

    @rule(
        numbers=st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True),
        shift=st.integers(0, 300),
    )
    def put(self, numbers: list[int], shift: int) -> None:
        vectors = VECTORS[[number + shift for number in numbers]]
        self.version += 1
        self.index.put(
            [query(number, f"of {shift}") for number in numbers], vectors, version=self.version
        )
        for number, vector in zip(numbers, vectors, strict=True):
            self.plain.vectors[f"q{number}"] = vector

    @rule(numbers=st.lists(st.integers(0, 99), max_size=20))
    def delete(self, numbers: list[int]) -> None:
        self.version += 1
        self.index.delete([f"q{number}" for number in numbers], version=self.version)
        for number in numbers:
            self.plain.vectors.pop(f"q{number}", None)

    @rule()
    def rebuild(self) -> None:
        if self.plain.vectors:
            self.index.become(self.index.rebuilder()())
            assert self.index.changed == (0, 0.0)

    @invariant()
    def agrees(self) -> None:
        assert {each.id for each in self.index.queries} == self.plain.vectors.keys()
        assert (len(self.index), self.index.version) == (len(self.plain.vectors), self.version)
        for k in (1, 10):
            expected = self.plain.cosines(ASKED, k)
            for positions, cosines in (
                self.index.search(ASKED, k),
                self.index.search_exactly(ASKED, k),
            ):
                assert cosines == pytest.approx(expected, abs=1e-5)
                assert positions.shape == expected.shape
            assert all(len(set(row)) == len(row) for row in ids(self.index, ASKED, k))
        wanted = [f"q{number}" for number in range(0, 100, 7)]
        found, cosines = self.index.similarities(ASKED, wanted)
        there = [each for each in wanted if each in self.plain.vectors]
        assert [each.id for each in found] == there
        if there:
            exact = ASKED @ np.stack([self.plain.vectors[each] for each in there]).T
            assert cosines == pytest.approx(exact, abs=1e-5)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=20)


def test_what_is_put_is_found_by_the_next_search() -> None:
    index = built(50)

    index.put([query(300)], VECTORS[300:301], version=7)

    [[(found, cosine), *_]] = index.nearest(VECTORS[300:301], 3)
    assert (found.id, cosine) == ("q300", pytest.approx(1, abs=1e-6))
    assert index.version == 7


def test_another_text_replaces_the_old_one() -> None:
    index = built(50)

    index.put([query(3, "another")], VECTORS[200:201], version=1)

    known = index.get("q3")
    assert known is not None
    assert known.text == "another"
    assert len(index) == 50
    assert ids(index, VECTORS[200:201], 1) == [["q3"]]
    assert "q3" not in ids(index, VECTORS[3:4], 1)[0]


def test_a_search_under_way_sees_one_version_only() -> None:
    """Readers run while train queries come and go in pairs; no reader ever sees half of a pair."""
    index = built(100)
    pair = [Query(id="a", text="a"), Query(id="b", text="b")]
    vectors = np.repeat(VECTORS[399:400], 2, axis=0)
    seen: list[set[str]] = []
    stopping = threading.Event()

    def read() -> None:
        while not stopping.is_set():
            seen.append({each for each in ids(index, vectors[:1], 5)[0] if each in "ab"})

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(1, 200, 2):
        index.put(pair, vectors, version=version)
        index.delete(["a", "b"], version=version + 1)
        if version % 50 == 1:
            index.become(index.rebuilder()())
    stopping.set()
    for reader in readers:
        reader.join()

    assert {frozenset(each) for each in seen} <= {frozenset(), frozenset("ab")}
    assert len(seen) > 10


@pytest.mark.parametrize(
    ("vectors", "named"),
    [
        (np.full((1, 16), np.inf, np.float32), "NaN or infinity"),
        (np.ones((1, 8), np.float32), r"\(1, 8\)"),
        (np.ones((2, 16), np.float32), "2 vectors for 1"),
    ],
)
def test_bad_vectors_change_nothing(vectors: NDArray[np.float32], named: str) -> None:
    index = built(20)

    with pytest.raises(InvalidInput, match=named):
        index.put([query(99)], vectors, version=5)

    assert (index.version, len(index), index.get("q99")) == (0, 20, None)


def test_an_id_may_not_occur_twice() -> None:
    twice = [query(1), query(1, "another")]

    with pytest.raises(InvalidInput, match="'q1' occurs twice, as 'text 1' and as 'another'"):
        TrainQueryIndex.build(twice, VECTORS[:2], encoder="e-1")
    with pytest.raises(InvalidInput, match="twice"):
        TrainQueryIndex.build([query(1), query(1)], VECTORS[:2], encoder="e-1")
