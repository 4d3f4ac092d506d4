from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from services.inference.exploration import Explorer, Slate

ADS = 8
LEAST_P = 1e-3
"""Of a fixed seed: these tests pass or fail every time alike."""


RANKED = [f"d{number}" for number in range(ADS)]


def draw(explorer: Explorer, times: int, k: int) -> list[Slate[str]]:
    return [
        explorer.fill(
            RANKED[: explorer.reach(k)],
            k,
            explorer.places(k),
            population=ADS,
            at=lambda numbers: [RANKED[number] for number in numbers],
            id_of=str,
        )
        for _ in range(times)
    ]


def test_each_place_is_drawn_as_often_as_the_others_and_with_the_share() -> None:
    explorer, times, k = Explorer(0.2, seed=0), 20_000, 5
    drawn = Counter(place for _ in range(times) for place in explorer.places(k))

    assert chisquare([drawn[place] for place in range(k)]).pvalue > LEAST_P
    total = sum(drawn.values())
    assert (
        chisquare([total, times * k - total], [0.2 * times * k, 0.8 * times * k]).pvalue > LEAST_P
    )


def test_places_are_drawn_independently_of_each_other() -> None:
    explorer, times = Explorer(0.3, seed=1), 20_000
    patterns = Counter(tuple(explorer.places(3)) for _ in range(times))
    expected = {
        pattern: times * 0.3 ** len(pattern) * 0.7 ** (3 - len(pattern))
        for pattern in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    }

    observed = [patterns[pattern] for pattern in expected]
    assert chisquare(observed, list(expected.values())).pvalue > LEAST_P


@pytest.mark.parametrize(("pool", "reachable"), [(0, 8), (5, 5), (2, 3)])
def test_in_a_drawn_place_each_ad_of_the_pool_has_the_propensity_that_is_told(
    pool: int, reachable: int
) -> None:
    for place in range(3):
        explorer = Explorer(0.5, pool, seed=place)
        drawn = [slate for slate in draw(explorer, 8_000, k=3) if place in slate.drawn]
        counts = Counter(slate.ads[place] for slate in drawn)

        assert {slate.propensity for slate in drawn} == {1 / reachable}
        assert set(counts) == {f"d{number}" for number in range(reachable)}
        assert chisquare(list(counts.values())).pvalue > LEAST_P


def test_weighing_by_the_inverse_propensity_estimates_the_truth_without_bias() -> None:
    chances = {f"d{number}": 0.9 / (number + 1) for number in range(ADS)}
    users = np.random.default_rng(5)
    estimates, ranked_only = [], []
    for slate in draw(Explorer(0.25, seed=4), 40_000, k=4):
        for place, name in enumerate(slate.ads):
            is_clicked = users.random() < chances[name]
            if place in slate.drawn:
                estimates.append(is_clicked / slate.propensity)
            else:
                ranked_only.append(is_clicked * ADS)
    truth = sum(chances.values())
    error = np.std(estimates) / np.sqrt(len(estimates))

    assert abs(np.mean(estimates) - truth) < 3 * error
    assert abs(np.mean(ranked_only) - truth) > 20 * error  # what the log alone would say


@given(st.integers(1, 12), st.integers(0, 10_000), st.sampled_from([0, 4, 20]))
def test_no_ad_comes_twice_and_what_is_not_drawn_keeps_its_order(
    k: int, seed: int, pool: int
) -> None:
    explorer = Explorer(0.5, pool, seed)

    (slate,) = draw(explorer, 1, k)

    names = slate.ads
    assert len(names) == len(set(names)) == min(k, ADS)
    ranked = [int(name[1:]) for place, name in enumerate(names) if place not in slate.drawn]
    assert ranked == sorted(ranked)
    others = [
        number
        for number in range(ADS)
        if f"d{number}" not in {names[place] for place in slate.drawn}
    ]
    assert ranked == others[: len(ranked)]


def test_nothing_is_drawn_unless_asked() -> None:
    assert all(not Explorer(0.0).places(1_000) for _ in range(100))
