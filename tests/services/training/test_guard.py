import numpy as np
import pytest

from services.training.guard import (
    GuardSettings,
    choose_weight,
    explored,
    expose,
    mix,
)
from shared.dataset import Query

SETTINGS = GuardSettings(default=0.5)
RANDOM = np.random.default_rng(0)
GOOD = RANDOM.standard_normal((40, 8)).astype(np.float32)
GOOD /= np.linalg.norm(GOOD, axis=1, keepdims=True)
BAD = GOOD[::-1].copy()
EXPOSED = np.arange(30)
"""Query n asks for document n, whose good vector it is."""
ASKED = GOOD[:30]


def test_classifiers_that_rank_the_exposed_pairs_worse_are_not_let_through() -> None:
    assert choose_weight(BAD, GOOD, ASKED, EXPOSED, SETTINGS) < 0.5


def test_classifiers_that_rank_them_better_are() -> None:
    assert choose_weight(GOOD, BAD, ASKED, EXPOSED, SETTINGS) > 0.5


def test_the_default_stays_where_nothing_is_better() -> None:
    assert choose_weight(GOOD, GOOD, ASKED, EXPOSED, SETTINGS) == 0.5


@pytest.mark.parametrize("pairs", [0, 1, 29])
def test_the_default_stays_with_too_few_pairs(pairs: int) -> None:
    assert choose_weight(BAD, GOOD, ASKED[:pairs], EXPOSED[:pairs], SETTINGS) == 0.5


def test_the_slice_is_a_share_of_the_relevant_pairs_and_the_same_for_a_seed() -> None:
    queries = [Query(id=f"q{n}", text=f"t{n}", split="validation") for n in range(10)]
    positions = {f"d{n}": n for n in range(100)}
    truth = {query.id: dict.fromkeys(positions, 1.0) | {"unknown": 1.0} for query in queries}

    slices = [expose(queries, positions, truth, GuardSettings(seed=seed)) for seed in (1, 1, 2)]

    pairs = [set(zip(s.queries, s.documents.tolist(), strict=True)) for s in slices]
    assert len(pairs[0]) == len(slices[0].queries) == 10
    assert pairs[0] == pairs[1] != pairs[2]


def test_what_is_not_relevant_is_not_exposed() -> None:
    queries = [Query(id="q", text="t", split="validation")]

    exposed = expose(
        queries, {"d1": 0, "d2": 1}, {"q": {"d1": 0.0, "d2": 1.0}}, GuardSettings(slice_share=1)
    )

    assert (exposed.queries, exposed.documents.tolist()) == (["t"], [1])


def test_an_exploration_log_is_taken_whole_and_of_these_queries_only() -> None:
    queries = [Query(id="q", text="t", split="validation")]
    log = {"q": {"d1": 2.0, "gone": 1.0}, "trained on": {"d2": 1.0}}

    exposed = explored(queries, {"d1": 0, "d2": 1}, log)

    assert (exposed.queries, exposed.documents.tolist()) == (["t"], [0])


def test_without_truth_the_slice_is_empty() -> None:
    assert len(expose([Query(id="q", text="t")], {"d": 0}, {}, SETTINGS).queries) == 0


def test_mixing_stays_linear_in_the_query() -> None:
    classifiers = 7 * BAD
    query = GOOD[3]

    scores = mix(classifiers, GOOD, 0.25) @ query

    assert scores == pytest.approx(0.75 * (GOOD @ query) + 0.25 * (BAD @ query), abs=1e-5)


def test_a_weight_of_zero_is_zero_shot() -> None:
    assert (mix(BAD, GOOD, 0.0) == GOOD).all()
