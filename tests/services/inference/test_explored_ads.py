from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from scipy.stats import chisquare

from services.inference.catalogue import Catalogue, Entry
from services.inference.exploration import Draw, Explorer
from services.inference.filters import conditions_of
from services.inference.retriever import Ranking, top
from services.inference.view import View
from shared.bundle_facts import ScoreCalibration
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import ad, generation

LEAST_P = 1e-3
"""Of a fixed seed: these tests pass or fail every time alike."""
ENCODER = BagOfWordsEncoder()
PUBLISHED = [ad(f"thing-{number}", even=number % 2 == 0) for number in range(8)]
PUT = [ad(f"new-thing-{number}", even=number % 2 == 0) for number in range(6)]
GONE = ("thing-0", "thing-1")
EVEN = conditions_of({"even": True})


def entry(ad_id: str, version: int = 1) -> Entry:
    """Return what became of an ad: put, or deleted."""
    put = next((each for each in PUT if each.id == ad_id), None)
    if put is None:
        return Entry(version, "", None)
    [vector] = ENCODER.encode([put.title])
    return Entry(version, put.content_hash, put.model_dump_json().encode(), vector)


def view_of() -> View:
    """Return ads of a bundle, some deleted, ads with an index of their own and ads that are compared one by one."""
    first = {ad_id: entry(ad_id) for ad_id in (*GONE, *(each.id for each in PUT[:4]))}
    catalogue = Catalogue(generation("g1", PUBLISHED, encoder=ENCODER), first, recent=2)
    catalogue.apply({each.id: entry(each.id, 2) for each in PUT[4:]}, 2)
    assert catalogue.view.extra is not None
    assert catalogue.view.recent_rows
    return catalogue.view


THERE = [each for each in (*PUBLISHED, *PUT) if each.id not in GONE]


def explored(view: View, explorer: Explorer, k: int = 3, **asked: object) -> Ranking:
    draw = Draw(explorer, [1], lambda ad_id, position, p: {"propensity": p, "slot": position})
    return top(view, "thing 5", k, draw=draw, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_filtered", [False, True])
def test_a_drawn_place_shows_evenly_what_may_be_returned_and_nothing_else(
    is_filtered: bool,
) -> None:
    view, explorer = view_of(), Explorer(0.5, seed=7)
    may = {each.id for each in THERE if each.metadata["even"] or not is_filtered}
    conditions = EVEN if is_filtered else None
    places = [
        explored(view, explorer, conditions=conditions).ads[1] for _ in range(200 * len(may))
    ]

    shown = Counter(str(each["id"]) for each in places)
    assert set(shown) == may
    assert chisquare(list(shown.values())).pvalue > LEAST_P
    assert {each["propensity"] for each in places} == {1 / len(may)}


def test_a_pool_holds_the_best_of_what_may_be_returned() -> None:
    view, explorer = view_of(), Explorer(0.5, pool=4, seed=7)
    best = {str(each["id"]) for each in top(view, "thing 5", 4, EVEN).ads}
    places = [explored(view, explorer, conditions=EVEN).ads[1] for _ in range(200)]

    assert {each["id"] for each in places} == best
    assert {each["propensity"] for each in places} == {1 / 4}


def test_a_drawn_ad_has_the_score_and_the_fields_it_would_be_ranked_with() -> None:
    view, calibration = view_of(), ScoreCalibration(knots=[(0, -4), (1, 4)])
    view = replace(view, generation=replace(view.generation, calibration=calibration))
    fields = ("even", "text")
    ranked = {each["id"]: each for each in top(view, "thing 5", 50, fields=fields).ads}
    explorer = Explorer(0.5, seed=3)
    drawn = [explored(view, explorer, fields=fields).ads[1] for _ in range(100)]

    assert len({each["id"] for each in drawn}) == len(ranked) == len(THERE)
    for each in drawn:
        known = ranked[each["id"]]
        assert each["score"] == pytest.approx(known["score"], abs=1e-6)
        assert (each["title"], each["fields"]) == (known["title"], known["fields"])


def test_a_place_past_the_last_ad_that_matches_is_not_drawn() -> None:
    only = conditions_of({"even": True, "no such field": 1})
    ranking = explored(view_of(), Explorer(0.5, seed=1), conditions=only)
    alone = explored(view_of(), Explorer(0.5, seed=1), k=1)

    assert list(ranking.ads) == []
    assert [set(each) for each in alone.ads] == [{"id", "title", "score"}]


def test_what_may_be_drawn_is_what_a_search_for_all_finds() -> None:
    view = view_of()
    for conditions in (None, EVEN):
        _, positions = view.search(ENCODER.encode(["thing"])[0], 50, conditions)

        assert view.matching(conditions).tolist() == sorted(positions.tolist())
