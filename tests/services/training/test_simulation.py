from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.training.simulation import (
    LoggingPolicy,
    deterministic_clicks,
    golden_propensities,
    rank_pairs,
    shown_for,
    stochastic_clicks,
)
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from shared.errors import InvalidInput

TITLES = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.8, 0.6]], dtype=np.float32)
QUERIES = np.array([[1, 0], [0, 1]], dtype=np.float32)
PAIRS = np.array([[1, 0], [0, 2], [0, 0], [0, 1], [1, 2]])


def unit_vectors(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal((rows, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_ranks_are_places_by_cosine_and_equals_share_one() -> None:
    assert rank_pairs(QUERIES, TITLES, PAIRS).tolist() == [4, 4, 1, 2, 1]


@given(st.integers(0, 1_000))
def test_ranks_agree_with_plain_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, titles = unit_vectors(rng, 5), unit_vectors(rng, 30)
    pairs = rng.integers(0, [5, 30], size=(20, 2))

    ranks = rank_pairs(queries, titles, pairs)

    scores = queries @ titles.T
    expected = [1 + int((scores[q] > scores[q, d]).sum()) for q, d in pairs]
    assert ranks.tolist() == expected


def test_no_pairs_have_no_ranks() -> None:
    none = np.empty((0, 2), dtype=np.int64)

    assert rank_pairs(QUERIES, TITLES, none).shape == (0,)
    assert golden_propensities(QUERIES, TITLES, none).shape == (0,)


def test_clicks_are_the_truth_within_the_top_k() -> None:
    ranks = rank_pairs(QUERIES, TITLES, PAIRS)

    assert deterministic_clicks(ranks, shown=2).tolist() == [False, False, True, True, True]
    assert deterministic_clicks(ranks, shown=4).all()


def test_a_propensity_is_the_sigmoid_of_the_score_standardised_over_what_is_shown() -> None:
    propensities = golden_propensities(QUERIES, TITLES, PAIRS, shown=3)

    shown = np.array([1.0, 0.8, 0.8])  # of the first query
    standardised = (np.array([0.0, 1.0, 0.8]) - shown.mean()) / shown.std()
    np.testing.assert_allclose(propensities[1:4], 1 / (1 + np.exp(-standardised)), rtol=1e-5)


def test_a_query_whose_documents_all_score_the_same_gives_even_chances() -> None:
    titles = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (5, 1))

    propensities = golden_propensities(QUERIES, titles, np.array([[0, 1], [0, 4]]), shown=3)

    np.testing.assert_allclose(propensities, 0.5, atol=1e-6)


def test_stochastic_clicks_are_shown_seeded_and_as_frequent_as_their_propensity() -> None:
    ranks = np.concatenate([np.ones(20_000, dtype=np.int64), np.full(100, 51)])
    propensities = np.concatenate([np.full(10_000, 0.2), np.full(10_000, 0.9), np.full(100, 1.0)])

    clicked = stochastic_clicks(ranks, propensities, seed=3)

    assert clicked[:10_000].mean() == pytest.approx(0.2, abs=0.02)
    assert clicked[10_000:20_000].mean() == pytest.approx(0.9, abs=0.02)
    assert not clicked[20_000:].any()
    assert (clicked == stochastic_clicks(ranks, propensities, seed=3)).all()
    assert (clicked != stochastic_clicks(ranks, propensities, seed=4)).any()


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=50),
    st.floats(0, 1),
)
def test_no_other_k_exposes_a_share_nearer_to_the_wanted_one(
    ranks: list[int], exposure: float
) -> None:
    ranked = np.array(ranks)

    chosen = shown_for(ranked, exposure)

    def miss(shown: int) -> float:
        return abs(float(deterministic_clicks(ranked, shown).mean()) - exposure)

    assert miss(chosen) <= min(miss(shown) for shown in range(min(ranks), 101)) + 1e-12


LOGGED = Dataset(
    documents=[Document(id=f"d{n}", title="t") for n in range(4)],
    queries=[Query(id="q1", text="a"), Query(id="q2", text="b", split="test")],
    clicks={},
    truth={"q1": {"d0": 1.0, "d2": 2.0, "d1": 0.0}, "q2": {"d2": 1.0}},
)


def test_a_log_holds_the_true_pairs_that_are_shown_of_every_split() -> None:
    log = LoggingPolicy(LOGGED, QUERIES, TITLES).log(2, "deterministic")

    assert log.clicks == {"q1": {"d0": 1.0}, "q2": {"d2": 1.0}}
    assert log.propensities == log.clicks
    assert log.exposure == pytest.approx(2 / 3)


def test_a_stochastic_log_keeps_the_golden_propensity_of_every_pair_shown() -> None:
    policy = LoggingPolicy(LOGGED, QUERIES, TITLES)
    logs = [policy.log(2, "stochastic", seed=seed) for seed in range(200)]

    [propensities] = {json.dumps(log.propensities, sort_keys=True) for log in logs}
    chance = json.loads(propensities)["q1"]["d0"]
    clicked = sum("d0" in log.clicks.get("q1", {}) for log in logs) / len(logs)
    assert 0.5 < chance < 1
    assert clicked == pytest.approx(chance, abs=0.1)
    assert all(set(log.clicks) <= set(log.propensities) for log in logs)


def test_the_same_seed_gives_the_same_log() -> None:
    policy = LoggingPolicy(LOGGED, QUERIES, TITLES)

    first, second = (policy.log(2, "stochastic", seed=3) for _ in range(2))

    assert first == second


def test_mar_has_as_many_clicks_as_are_shown_anywhere_in_the_truth() -> None:
    policy = LoggingPolicy(LOGGED, QUERIES, TITLES)
    logs = [policy.log(2, "mar", seed=seed) for seed in range(50)]

    pairs = [{(q, d) for q, row in log.clicks.items() for d in row} for log in logs]
    assert {len(each) for each in pairs} == {2}
    assert set.union(*pairs) == {("q1", "d0"), ("q1", "d2"), ("q2", "d2")}
    assert logs[0].propensities["q1"]["d2"] == pytest.approx(2 / 3)


def test_without_truth_there_is_nothing_to_log() -> None:
    with pytest.raises(InvalidInput, match=r"qrels\.tsv"):
        LoggingPolicy(replace(LOGGED, truth={}), QUERIES, TITLES)
