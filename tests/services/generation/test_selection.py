from services.generation.selection import ScoredLine, Selection, select_queries


def _lines(*texts: str) -> list[ScoredLine]:
    return [ScoredLine(text, -1.0) for text in texts]


def test_the_lines_of_one_completion_stay_as_written() -> None:
    assert select_queries([_lines("reed", "wind")], Selection()) == ["reed", "wind"]


def test_several_completions_follow_each_other_without_near_duplicates() -> None:
    completions = [_lines("double reeds", "wind"), _lines("reed double", "oboe")]

    assert select_queries(completions, Selection()) == ["double reeds", "wind", "oboe"]


def test_no_more_than_wanted_are_kept() -> None:
    assert select_queries([_lines("a", "b"), _lines("c")], Selection(max_queries=2)) == ["a", "b"]


def test_what_no_sample_finds_likely_is_dropped() -> None:
    completions = [
        [ScoredLine("reed", -1.0), ScoredLine("sortizer", -9.0)],
        [ScoredLine("wind", -7.0), ScoredLine("reeds", -8.0)],
        [ScoredLine("wind", -2.0)],
    ]

    kept = select_queries(completions, Selection(min_log_probability=-3.0))

    assert kept == ["reed", "wind"]


def test_of_too_many_the_likeliest_stay_in_the_order_written() -> None:
    lines = [ScoredLine("a", -3.0), ScoredLine("b", -1.0), ScoredLine("c", -2.0)]

    kept = select_queries([lines], Selection(max_queries=2, min_log_probability=-9.0))

    assert kept == ["b", "c"]


def test_what_too_few_samples_have_is_dropped() -> None:
    completions = [_lines("reed", "wind"), _lines("wind", "oboe"), _lines("horn"), _lines("winds")]

    assert select_queries(completions, Selection(min_agreement=0.5)) == ["wind"]
    assert select_queries(completions[:1], Selection(min_agreement=0.5)) == ["reed", "wind"]


def test_a_query_twice_in_one_sample_is_one_sample() -> None:
    completions = [_lines("reed", "reeds"), _lines("wind")]

    assert select_queries(completions, Selection(min_agreement=1.0)) == []


def test_both_bounds_must_be_reached() -> None:
    completions = [
        [ScoredLine("reed", -9.0), ScoredLine("wind", -1.0)],
        [ScoredLine("reed", -8.0)],
    ]
    selection = Selection(min_agreement=1.0, min_log_probability=-3.0)

    assert select_queries(completions, selection) == []


def test_some_are_kept_whatever_the_bounds_say_and_never_more_than_the_most() -> None:
    completions = [
        [ScoredLine("oboe", -4.0), ScoredLine("reed", -9.0)],
        [ScoredLine("horn", -5.0), ScoredLine("reed", -8.0)],
    ]
    bounds = {"min_agreement": 1.0, "min_log_probability": -3.0}

    assert select_queries(completions, Selection(min_queries=1, **bounds)) == ["reed"]
    assert select_queries(completions, Selection(min_queries=2, **bounds)) == ["oboe", "reed"]
    assert select_queries(completions, Selection(1, min_queries=3)) == ["reed"]


def test_scores_are_asked_for_only_if_they_decide() -> None:
    assert not Selection().needs_log_probabilities
    assert Selection(min_log_probability=-3.0).needs_log_probabilities
