from dataclasses import replace

from services.inference.answer_cache import AnswerCache
from services.inference.catalogue import Catalogue
from tests.support.generations import ad, generation

VIEW = Catalogue(generation("v1", [ad("red-wine")]), version=1).view


def test_a_kept_answer_is_given_again_and_one_of_other_ads_or_another_bundle_never() -> None:
    cache = AnswerCache(10_000)
    assert cache.get(VIEW, "q") is None
    cache.put(VIEW, "q", b"answer")

    assert cache.get(VIEW, "q") == b"answer"
    assert cache.get(replace(VIEW, version=2), "q") is None
    assert cache.get(VIEW, "q") is None
    cache.put(VIEW, "q", b"answer")
    same_name = replace(VIEW, generation=generation("v1", [ad("boat")]))
    assert cache.get(same_name, "q") is None


def test_an_answer_that_comes_after_the_ads_changed_is_not_kept() -> None:
    cache, later = AnswerCache(10_000), replace(VIEW, version=2)
    cache.get(later, "q")
    cache.put(VIEW, "q", b"old")

    assert cache.get(later, "q") is None


def test_the_answers_used_last_are_kept_within_the_bytes() -> None:
    cache = AnswerCache(1_500)
    cache.get(VIEW, "x")
    for name in "abc":
        cache.put(VIEW, name, b"x" * 50)
    cache.get(VIEW, "a")
    cache.put(VIEW, "d", b"x" * 50)

    assert [cache.get(VIEW, name) is not None for name in "abcd"] == [True, False, True, True]
    cache.put(VIEW, "e", b"x" * 2_000)
    assert cache.get(VIEW, "e") is None
    assert cache.get(VIEW, "a") is not None


def test_no_bytes_keep_nothing() -> None:
    cache = AnswerCache(0)
    cache.get(VIEW, "a")
    cache.put(VIEW, "a", b"")

    assert cache.get(VIEW, "a") is None
