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
