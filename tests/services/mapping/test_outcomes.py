import pytest

from services.mapping.outcomes import Evidence, outcomes, source_of
from shared.errors import InvalidInput

QUERIES = ["oboe", "oboe", "oboe", "horn"]
DOCUMENTS = ["a", "b", "c", "a"]
CLICKS = {"oboe": {"a": 2.0}}
IMPRESSIONS = {"oboe": {"a": 5.0, "b": 5.0}}


def known(source: str, **evidence: dict[str, dict[str, float]]) -> list[bool | None]:
    """Return right, wrong or None (not known) of each pair."""
    found = outcomes(source, Evidence(**evidence), QUERIES, DOCUMENTS)  # type: ignore[arg-type]
    pairs = zip(found.is_known.tolist(), found.is_right.tolist(), strict=True)
    return [right if is_known else None for is_known, right in pairs]


def test_complete_truth_knows_all_of_its_queries() -> None:
    assert known("truth", truth={"oboe": {"a": 1.0}}) == [True, False, False, None]


def test_judgements_know_what_was_judged() -> None:
    judged = {"oboe": {"a": 1.0, "b": 0.0}}

    assert known("judgements", truth=judged) == [True, False, None, None]
    assert source_of(Evidence(truth=judged, clicks=CLICKS)) == "judgements"


def test_what_was_not_shown_says_nothing() -> None:
    evidence = {"clicks": CLICKS, "impressions": IMPRESSIONS}

    assert known("impressions", **evidence) == [True, False, None, None]
    assert source_of(Evidence(**evidence)) == "impressions"


def test_a_click_without_an_impression_counts() -> None:
    assert known("impressions", clicks=CLICKS, impressions={"oboe": {"b": 1.0}}) == [
        True, False, None, None,
    ]  # fmt: skip


def test_clicks_alone_say_something_of_all_and_exploration_how_many_are_missing() -> None:
    evidence = Evidence(
        clicks={"oboe": {"a": 1.0}, "drum": {"x": 1.0}},
        exploration={"drum": {"x": 1.0, "y": 1.0, "z": 1.0, "w": 1.0}},
    )

    found = outcomes("clicks", evidence, QUERIES, DOCUMENTS)

    assert found.is_known.all()
    assert found.is_right.tolist() == [True, False, False, False]
    assert found.logged == pytest.approx(0.25)
    assert source_of(evidence) == "clicks"


def test_truth_that_is_all_positive_may_be_a_part_and_is_not_taken_for_complete() -> None:
    assert source_of(Evidence(truth={"oboe": {"a": 1.0}}, clicks=CLICKS)) == "clicks"


def test_nothing_calibrates_nothing() -> None:
    with pytest.raises(InvalidInput, match="neither clicks nor judgements"):
        source_of(Evidence(truth={"oboe": {"a": 1.0}}))
