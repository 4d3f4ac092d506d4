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


def test_scores_are_asked_for_only_if_they_decide() -> None:
    assert not Selection().needs_log_probabilities
    assert Selection(min_log_probability=-3.0).needs_log_probabilities
