import pytest

from loadtests.ads_oracle import AdsOracle


def ad(number: int, color: str = "red") -> dict[str, object]:
    return {"id": f"ad-{number}", "title": f"thing {number}", "metadata": {"color": color}}


def answer(*ads: dict[str, object], version: int = 2, generation: str = "a") -> dict[str, object]:
    ranked = [
        {"id": each["id"], "title": each["title"], "fields": each["metadata"], "score": -place}
        for place, each in enumerate(ads)
    ]
    return {"generation": generation, "ads_version": version, "ads": ranked}


@pytest.fixture
def oracle() -> AdsOracle:
    oracle = AdsOracle({"a": [ad(1), ad(2)], "b": [ad(2, "blue")]})
    oracle.note(1, {"ad-3": ad(3)})
    oracle.note(2, {"ad-1": None})
    return oracle


def test_what_may_be_returned_is_no_fault(oracle: AdsOracle) -> None:
    assert oracle.fault(answer(ad(3), ad(2)), 10, at_least=2) is None
    assert oracle.fault(answer(ad(3), ad(2, "blue"), generation="b"), 10, at_least=2) is None
    assert oracle.fault(answer(ad(2), ad(1), version=0), 2, at_least=0) is None
    assert oracle.fault(answer(ad(3), version=1), 1, at_least=0, color="red") is None


@pytest.mark.parametrize(
    ("wrong", "k", "reason"),
    [
        (answer(ad(3), ad(1)), 2, "ad-1 may not be returned"),
        (answer(ad(3)), 2, "1 ads, expected 2"),
        (answer(ad(3), ad(3)), 2, "twice"),
        (answer(ad(3), ad(2, "blue")), 2, "expected"),
        (answer(ad(3), ad(2), version=1), 2, "version 1, though 2 was acknowledged"),
        (answer(ad(3), ad(2), version=7), 2, "never was a version 7"),
        (answer(ad(3), ad(2), generation="c"), 2, "no bundle 'c'"),
    ],
)
def test_what_may_not_be_returned_is_a_fault(
    oracle: AdsOracle, wrong: dict[str, object], k: int, reason: str
) -> None:
    assert reason in str(oracle.fault(wrong, k, at_least=2))


def test_an_ad_of_another_color_than_was_filtered_by_is_a_fault(oracle: AdsOracle) -> None:
    blue = answer(ad(2, "blue"), generation="b")

    assert oracle.fault(blue, 1, at_least=2, color="blue") is None
    assert oracle.fault(blue, 1, at_least=2, color="red") is not None


def test_ads_out_of_order_are_a_fault(oracle: AdsOracle) -> None:
    turned = answer(ad(3), ad(2))
    turned["ads"].reverse()

    assert "not in order" in str(oracle.fault(turned, 2, at_least=2))


def drawn_second(propensity: float) -> dict[str, object]:
    """Return an answer whose second ad would rank first, and was drawn."""
    found = answer(ad(3), ad(2))
    found["ads"][1] |= {"score": 9, "propensity": propensity, "slot": "s"}
    return found


def test_a_drawn_ad_has_any_score_and_the_propensity_of_all_that_may_be_drawn(
    oracle: AdsOracle,
) -> None:
    assert oracle.fault(drawn_second(1 / 2), 2, at_least=2) is None
    assert "expected 1/2" in str(oracle.fault(drawn_second(1 / 3), 2, at_least=2))


def test_a_drawn_place_that_is_given_twice_is_a_fault(oracle: AdsOracle) -> None:
    assert oracle.fault(drawn_second(1 / 2), 2, at_least=2) is None
    assert "given twice" in str(oracle.fault(drawn_second(1 / 2), 2, at_least=2))
