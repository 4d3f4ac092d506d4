import numpy as np
import pytest
import pytrec_eval
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from napkinxc.metrics import Jain_et_al_propensity, psprecision_at_k

from services.training.metrics import (
    PerQuery,
    bootstrap,
    groups_by_clicks,
    measure,
    paired_difference,
    paired_differences,
    paired_test,
    propensities_from_clicks,
    recall_of,
)

RANKED = np.array([[3, 0, 1], [2, 1, 0]])
TRUTH = sp.csr_array(
    np.array([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0]], dtype=np.float32)
)  # hits at ranks 1 and 2 of three relevant; at rank 2 of one


def test_precision_and_recall_are_what_a_hand_computes() -> None:
    metrics = measure(RANKED, TRUTH, cutoffs=(1, 3))

    assert metrics["P@1"].value.tolist() == [1, 0]
    assert metrics["P@3"].value == pytest.approx([2 / 3, 1 / 3])
    assert metrics["recall@1"].value == pytest.approx([1 / 3, 0])
    assert metrics["recall@3"].mean == pytest.approx((2 / 3 + 1) / 2)


def test_ndcg_is_what_a_hand_computes() -> None:
    metrics = measure(RANKED, TRUTH, cutoffs=(3,))
    discounts = 1 / np.log2([2, 3, 4])

    assert metrics["nDCG@3"].value == pytest.approx(
        [(discounts[0] + discounts[1]) / discounts.sum(), discounts[1] / discounts[0]]
    )


def test_ndcg_takes_the_grade_as_gain() -> None:
    graded = sp.csr_array(np.array([[1.0, 3.0]]))

    metrics = measure(np.array([[0, 1]]), graded, cutoffs=(1, 2))

    assert metrics["nDCG@1"].mean == pytest.approx(1 / 3)
    assert metrics["nDCG@2"].mean == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_psp_is_a_ratio_of_sums_over_the_best_that_was_possible() -> None:
    propensities = np.array([0.5, 0.1, 1.0, 1.0, 0.25])

    metrics = measure(RANKED, TRUTH, propensities=propensities, cutoffs=(1, 2))

    assert metrics["PSP@1"].mean == pytest.approx((1 + 0) / (4 + 10))
    assert metrics["PSP@2"].mean == pytest.approx((1 + 2 + 10) / (4 + 2 + 10))


def test_a_grade_of_zero_or_below_is_not_relevant() -> None:
    judged = sp.csr_array(([0.0, -1.0, 1.0], ([0, 0, 0], [0, 1, 2])), shape=(1, 3))

    metrics = measure(np.array([[0, 1, 2]]), judged, cutoffs=(1, 3))

    assert metrics["P@1"].mean == 0
    assert metrics["recall@3"].mean == 1


def test_a_cutoff_beyond_the_ranking_sees_all_of_it() -> None:
    metrics = measure(RANKED, TRUTH, cutoffs=(10,))

    assert metrics["P@10"].value == pytest.approx([0.2, 0.1])
    assert metrics["recall@10"].value == pytest.approx([2 / 3, 1])


def test_a_query_without_truth_is_refused() -> None:
    with pytest.raises(ValueError, match="leave it out"):
        measure(RANKED, sp.csr_array((2, 5), dtype=np.float32))


@settings(max_examples=60)
@given(data=st.data(), queries=st.integers(1, 6), documents=st.integers(1, 12))
def test_every_metric_agrees_with_the_plain_loop_and_stays_in_bounds(
    data: st.DataObject, queries: int, documents: int
) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    truth = random.random((queries, documents)) < 0.4
    truth[np.arange(queries), random.integers(documents, size=queries)] = True
    ranked = np.argsort(random.random((queries, documents)), axis=1)[:, : random.integers(1, 13)]
    propensities = random.uniform(0.01, 1, documents)

    metrics = measure(
        ranked,
        sp.csr_array(truth.astype(np.float32)),
        propensities=propensities,
        cutoffs=(1, 3, 10),
    )

    for k in (1, 3, 10):
        hits = [
            len(set(row[:k]) & set(np.flatnonzero(right)))
            for row, right in zip(ranked, truth, strict=True)
        ]
        assert metrics[f"P@{k}"].value == pytest.approx([hit / k for hit in hits])
        assert metrics[f"recall@{k}"].value == pytest.approx(hits / truth.sum(axis=1))
        for name in ("P", "recall", "nDCG", "PSP"):
            per_query = metrics[f"{name}@{k}"]
            ratio = per_query.value / per_query.base
            assert ((ratio >= 0) & (ratio <= 1 + 1e-6)).all()


def test_a_perfect_ranking_scores_one() -> None:
    truth = sp.csr_array(np.array([[0, 1, 1, 0]], dtype=np.float32))

    metrics = measure(
        np.array([[2, 1, 0, 3]]), truth, propensities=np.array([1, 0.5, 0.1, 1]), cutoffs=(1, 2)
    )

    assert all(
        metrics[name].mean == pytest.approx(1)
        for name in ("P@2", "nDCG@2", "recall@2", "PSP@1", "PSP@2")
    )


def test_propensities_rise_with_clicks_and_follow_the_formula() -> None:
    propensities = propensities_from_clicks(np.array([0, 1, 10, 1000]), 10_000)
    c = (np.log(10_000) - 1) * 2.5**0.55

    assert (np.diff(propensities) > 0).all()
    assert propensities[2] == pytest.approx(1 / (1 + c * np.exp(-0.55 * np.log(11.5))))
    assert ((propensities > 0) & (propensities <= 1)).all()


def test_a_tiny_log_has_propensities_in_bounds() -> None:
    assert propensities_from_clicks(np.array([0, 1]), 1).tolist() == [1, 1]


def test_the_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    random = np.random.default_rng(0)
    few, many = (PerQuery(random.random(n), np.ones(n)) for n in (50, 2_000))
    [small, large] = [bootstrap({"m": metric})["m"] for metric in (few, many)]

    assert small.low < small.value < small.high
    assert large.high - large.low < (small.high - small.low) / 3
    assert large.high - large.low == pytest.approx(2 * 1.96 * (1 / 12 / 2_000) ** 0.5, rel=0.15)


def test_a_paired_interval_sees_through_the_spread_between_queries() -> None:
    hard = np.random.default_rng(0).random(200)
    ones = np.ones(200)

    gain = paired_difference(PerQuery(hard + 0.01, ones), PerQuery(hard, ones))

    assert (gain.value, gain.low, gain.high) == pytest.approx((0.01, 0.01, 0.01))


def test_the_same_seed_gives_the_same_interval() -> None:
    metric = {"m": PerQuery(np.arange(30.0), np.ones(30))}

    assert bootstrap(metric, seed=3) == bootstrap(metric, seed=3)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_trec_eval_agrees(seed: int) -> None:
    random = np.random.default_rng(seed)
    relevance = random.integers(0, 3, size=(6, 30)) * (random.random((6, 30)) < 0.3)
    relevance[:, 0] = 1
    ranked = np.array([random.permutation(30)[:20] for _ in range(6)])
    names = {"P@5": "P_5", "recall@10": "recall_10", "nDCG@10": "ndcg_cut_10"}
    oracle = pytrec_eval.RelevanceEvaluator(
        {
            str(q): {str(d): int(grade) for d, grade in enumerate(row)}
            for q, row in enumerate(relevance)
        },
        {"P.5", "recall.10", "ndcg_cut.10"},
    ).evaluate(
        {
            str(q): {str(d): float(-place) for place, d in enumerate(row)}
            for q, row in enumerate(ranked)
        }
    )

    metrics = measure(ranked, sp.csr_array(relevance.astype(np.float32)), cutoffs=(5, 10))

    for ours, theirs in names.items():
        expected = [oracle[str(query)][theirs] for query in range(6)]
        assert metrics[ours].value == pytest.approx(expected)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([(0.55, 1.5), (0.5, 0.4), (0.6, 2.6)]))
def test_napkinxc_agrees_on_propensities_and_psp(seed: int, shape: tuple[float, float]) -> None:
    random, (a, b) = np.random.default_rng(seed), shape
    clicked = random.random((40, 30)) < random.random(30) ** 3
    relevant = random.random((6, 30)) < 0.2
    relevant[:, 0] = True
    ranked = np.array([random.permutation(30)[:10] for _ in range(6)])

    propensities = propensities_from_clicks(clicked.sum(axis=0), len(clicked), a=a, b=b)
    metrics = measure(
        ranked,
        sp.csr_array(relevant.astype(np.float32)),
        propensities=propensities,
        cutoffs=(1, 3, 5, 10),
    )

    assert propensities == pytest.approx(Jain_et_al_propensity(clicked.astype(float), a, b))
    expected = psprecision_at_k(
        [np.flatnonzero(row).tolist() for row in relevant],
        ranked.tolist(),
        1 / propensities,
        k=10,
    )
    for k in (1, 3, 5, 10):
        assert metrics[f"PSP@{k}"].mean == pytest.approx(expected[k - 1])


def test_recall_of_a_group_is_over_queries_that_ask_for_it() -> None:
    groups = {"head": np.array([1, 1, 0, 0, 0]) > 0, "tail": np.array([0, 0, 0, 1, 1]) > 0}

    metrics = recall_of(RANKED, TRUTH, groups | {"none": np.zeros(5) > 0}, cutoffs=(1, 3))

    assert metrics["tail_recall@1"].mean == 0.5  # of the first query's two; the second has none
    assert metrics["head_recall@3"].mean == 1.0
    assert "none_recall@1" not in metrics


def test_head_holds_half_of_the_clicks_and_tail_none() -> None:
    groups = groups_by_clicks(np.array([1, 6, 0, 3, 0]))

    assert {name: np.flatnonzero(group).tolist() for name, group in groups.items()} == {
        "head": [1],
        "torso": [0, 3],
        "tail": [2, 4],
    }


def test_a_log_without_clicks_is_all_tail() -> None:
    assert groups_by_clicks(np.zeros(3, dtype=np.int64))["tail"].all()


def test_paired_differences_are_those_of_each_metric() -> None:
    random = np.random.default_rng(0)
    first, second = (
        {name: PerQuery(random.random(40), np.ones(40)) for name in ("a", "b")} for _ in range(2)
    )

    together = paired_differences(first, second)

    for name in ("a", "b"):
        assert together[name] == paired_difference(first[name], second[name])


def test_the_randomisation_test_tells_a_difference_from_chance() -> None:
    random = np.random.default_rng(0)
    model, same, better = (
        PerQuery(random.random(200) + shift, np.ones(200)) for shift in (0.0, 0.0, 0.3)
    )

    assert paired_test(better, model) < 0.01
    assert paired_test(same, model) > 0.01
    assert paired_test(model, model) == 1.0


def test_the_p_of_few_queries_is_what_counting_all_signs_gives() -> None:
    three = PerQuery(np.array([1.0, 1.0, 1.0]), np.ones(3))
    none = PerQuery(np.zeros(3), np.ones(3))

    assert paired_test(three, none) == pytest.approx(2 / 8, abs=0.02)
