import pytest

from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from shared.contracts.synthetic_queries import Evidence, WrittenQueries

BOUNDS = Trust(min_support=0.5, min_log_probability=-4.0, min_queries=0)
WRITTEN = WrittenQueries(
    queries=["sure", "rare", "unlikely", "unscored"],
    evidence=[Evidence(1.0, -0.5), Evidence(0.25, -0.5), Evidence(0.5, -4.1), Evidence(0.5, None)],
)


def test_a_query_must_reach_both_bounds() -> None:
    assert BOUNDS.trusted(WRITTEN) == ["sure", "unscored"]


def test_where_too_few_reach_the_bounds_the_first_others_make_up_the_number() -> None:
    trust = Trust(min_support=0.5, min_log_probability=-4.0, min_queries=3)

    assert trust.trusted(WRITTEN) == ["sure", "rare", "unscored"]


def test_where_enough_reach_the_bounds_no_other_is_trusted() -> None:
    trust = Trust(min_support=0.0, min_log_probability=-0.5, min_queries=2)

    assert trust.trusted(WRITTEN) == ["sure", "rare", "unscored"]


def test_queries_without_evidence_are_trusted() -> None:
    assert BOUNDS.trusted(WrittenQueries(queries=["a", "b"])) == ["a", "b"]


def test_none_asks_for_no_likelihood() -> None:
    trust = Trust(min_support=0.0, min_log_probability=None, min_queries=0)

    assert trust.trusted(WRITTEN) == WRITTEN.queries


def test_the_bounds_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIM_MAPPING_MIN_SUPPORT", "0.75")
    monkeypatch.setenv("SKIM_MAPPING_MIN_LOG_PROBABILITY", "none")
    monkeypatch.setenv("SKIM_MAPPING_MIN_TRUSTED_QUERIES", "3")
    monkeypatch.setenv("SKIM_MAPPING_MIN_EXPECTED", "0.25")

    assert Trust.of(MappingSettings()) == Trust(0.75, None, 3, 0.25)


def test_other_bounds_have_another_name() -> None:
    others = [Trust(0.5, -4.0, 1), Trust(0.25, -4.0, 0), Trust(0.5, None, 0)]

    assert len({BOUNDS.name, *(other.name for other in others)}) == 4


def test_where_the_slm_was_searched_what_it_expects_is_enough() -> None:
    written = WrittenQueries(
        queries=["found", "rare", "drawn"],
        evidence=[Evidence(0.0, -2.5, 0.3), Evidence(0.5, -2.0, 0.1), Evidence(0.75, -0.1, 0.0)],
    )

    assert Trust(0.5, -2.25, 0, min_expected=0.2).trusted(written) == ["found"]
    assert Trust(0.5, -2.25, 0, min_expected=0.1).trusted(written) == ["found", "rare"]
    assert Trust(0.5, -2.25, 2, min_expected=0.9).trusted(written) == ["found", "rare"]
    assert Trust(0.5, -2.25, 0, 0.2).name != Trust(0.5, -2.25, 0, 0.1).name


def test_where_the_slm_was_searched_what_all_samples_have_is_enough_if_it_is_likely() -> None:
    written = WrittenQueries(
        queries=["sure", "unlikely"], evidence=[Evidence(1.0, -2.0, 0.0), Evidence(1.0, -2.5, 0.0)]
    )

    assert Trust(0.5, -2.25, 0, min_expected=0.2).trusted(written) == ["sure"]


def test_bounds_of_nothing_trust_everything_searched_or_not() -> None:
    searched = WrittenQueries(
        queries=["a", "b"], evidence=[Evidence(0.0, -9.0, 0.0), Evidence(1.0)]
    )

    assert Trust(0.0, None, 0, min_expected=0.0).trusted(searched) == ["a", "b"]
