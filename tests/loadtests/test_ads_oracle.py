from typing import Any

import pytest

from loadtests.ads_oracle import AdsOracle

ADS = [{"id": each, "title": each, "metadata": {"color": "red"}} for each in "abcd"]


def oracle() -> AdsOracle:
    judge = AdsOracle({"g": ADS})
    judge.note(7, {"d": None})
    return judge


def answer(*ads: dict[str, Any], version: int = 7) -> dict[str, Any]:
    named = [{"title": each["id"], "fields": {"color": "red"}, **each} for each in ads]
    return {"generation": "g", "ads_version": version, "ads": named}


def drawn(ad_id: str, score: float, propensity: float = 1 / 3) -> dict[str, Any]:
    return {"id": ad_id, "score": score, "propensity": propensity, "slot": f"slot of {ad_id}"}


A, B, C = ({"id": name, "score": score} for name, score in (("a", 3.0), ("b", 2.0), ("c", 1.0)))


@pytest.mark.parametrize("ads", [(A, B, C), (drawn("c", 1.0), A, B), (A, drawn("b", 2.0), C)])
def test_an_answer_of_what_there_is_is_right(ads: tuple[dict[str, Any], ...]) -> None:
    assert oracle().fault(answer(*ads), len(ads), at_least=7) is None


@pytest.mark.parametrize(
    ("ads", "fault"),
    [
        ((A, C, B), "not in order"),
        ((A, A, B), "an ad twice"),
        ((A, B), "2 ads, expected 3"),
        ((A, B, {"id": "d", "score": 1.0}), "d may not be returned"),
        ((A, B, drawn("d", 1.0)), "d may not be returned"),
        ((A, B, drawn("c", 1.0, 1 / 4)), "c has propensity 0.25, expected 1/3"),
    ],
)
def test_an_answer_at_fault_is_found_out(ads: tuple[dict[str, Any], ...], fault: str) -> None:
    found = oracle().fault(answer(*ads), 3, at_least=7)

    assert found is not None
    assert fault in found


def test_an_answer_of_before_an_acknowledged_change_is_wrong() -> None:
    found = oracle().fault(answer(A, B, C, version=0), 3, at_least=7)

    assert found == "version 0, though 7 was acknowledged before"


def test_a_drawn_place_that_is_given_twice_is_wrong() -> None:
    judge = oracle()
    ads = answer(drawn("c", 1.0), A, B)

    assert judge.fault(ads, 3, at_least=7) is None
    assert judge.fault(ads, 3, at_least=7) == "c was drawn once and given twice"
