from itertools import pairwise

import pytest

from loadtests.arrivals import all_at_once, poisson


def test_all_at_once_is_at_the_start() -> None:
    assert all_at_once(3) == [0, 0, 0]


def test_random_arrivals_come_in_order_at_the_rate_asked_for() -> None:
    arrivals = poisson(10_000, per_second=4, seed=1)

    assert arrivals == sorted(arrivals)
    assert arrivals[-1] == pytest.approx(10_000 / 4, rel=0.05)


def test_gaps_between_random_arrivals_vary_as_those_of_a_poisson_process_do() -> None:
    arrivals = poisson(10_000, per_second=4, seed=1)

    gaps = [after - before for before, after in pairwise(arrivals)]
    longer_than_the_mean = sum(gap > 1 / 4 for gap in gaps) / len(gaps)
    assert longer_than_the_mean == pytest.approx(0.368, abs=0.02)  # 1 / e


def test_the_same_seed_gives_the_same_arrivals() -> None:
    assert poisson(5, per_second=1, seed=3) == poisson(5, per_second=1, seed=3)
    assert poisson(5, per_second=1, seed=3) != poisson(5, per_second=1, seed=4)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        poisson(5, per_second=0)
