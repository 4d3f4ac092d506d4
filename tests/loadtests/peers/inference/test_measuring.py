from pathlib import Path

import pytest

from loadtests.peers.inference.measuring import (
    LOADS,
    PERCENTILES,
    Duel,
    Seconds,
    checked_recall,
    duel,
    medians,
    trials,
)
from loadtests.peers.inference.rivals import Contender
from shared.errors import InvalidInput, Unavailable
from tests.support.rivals import QUERIES, fake, tiny_catalogue

FIGURES = {"rps", "cpu_ms"} | {f"{load}_p{percent}" for load in LOADS for percent in PERCENTILES}


def test_recall_is_judged_by_what_is_answered(tmp_path: Path) -> None:
    catalogue = tiny_catalogue(tmp_path)

    with fake(catalogue) as served:
        assert checked_recall(served, catalogue, QUERIES) == 1.0


def test_a_service_that_finds_too_little_is_not_compared(tmp_path: Path) -> None:
    catalogue = tiny_catalogue(tmp_path)

    with (
        fake(catalogue, "forgets") as served,
        pytest.raises(InvalidInput, match=r"fake: recall@10 is 0\.9000, expected at least 0\.99"),
    ):
        checked_recall(served, catalogue, QUERIES)


def test_ratios_are_medians_over_pairs_of_turns_and_above_one_where_ours_is_better() -> None:
    slow, fast = {"rps": 100.0, "c1_p50": 10.0}, {"rps": 200.0, "c1_p50": 5.0}
    stalled = {"rps": 1.0, "c1_p50": 999.0}

    found = Duel(ours=[fast, stalled, fast], theirs=[slow, slow, slow])

    assert found.ratio("rps") == 2.0
    assert found.ratio("c1_p50") == 2.0
    assert medians(found.ours) == fast


def test_where_ours_is_slower_is_named() -> None:
    even = dict.fromkeys(FIGURES, 4.0)

    assert Duel([even], [even]).slower() == []
    assert Duel([even | {"c16_p99": 5.0}], [even]).slower() == ["c16_p99"]


def test_two_services_take_turns_under_each_load(tmp_path: Path) -> None:
    catalogue = tiny_catalogue(tmp_path)

    with fake(catalogue) as ours, fake(catalogue) as theirs:
        found = duel(ours, theirs, QUERIES, turns=2, seconds=Seconds.of_turn(0.6))

    assert [set(turn) for turn in (*found.ours, *found.theirs)] == [FIGURES] * 4
    assert found.errors == 0
    assert 0 < found.open_rate < min(found.ours[0]["rps"], found.theirs[0]["rps"])
    assert 0 < found.generator_ms < min(found.ours[0]["c1_p50"], found.theirs[0]["c1_p50"])


def test_a_service_that_answers_nothing_is_not_compared(tmp_path: Path) -> None:
    catalogue = tiny_catalogue(tmp_path)

    with (
        fake(catalogue) as ours,
        fake(catalogue, "fails") as theirs,
        pytest.raises(Unavailable, match="fake answered nothing under one of c1, c16, open"),
    ):
        duel(ours, theirs, QUERIES[1:], turns=1, seconds=Seconds.of_turn(0.3))


def test_a_setting_is_tried_by_its_requests_a_second_and_one_alone_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtests.peers.inference.measuring._TRIAL_SECONDS", 0.2)
    catalogue = tiny_catalogue(tmp_path)

    def _contender(*settings: str) -> Contender:
        return Contender("fake", settings, lambda each: fake(catalogue, each), None, {})

    rates = trials(_contender("", "fails"), QUERIES)

    assert rates[""] > rates["fails"]
    assert trials(_contender("stops"), QUERIES) == {}
