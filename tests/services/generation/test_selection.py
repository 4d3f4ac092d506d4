import math

from services.generation.selection import ScoredLine, select_queries
from shared.contracts.synthetic_queries import Evidence


def _lines(*texts: str, score: float = -1.0) -> list[ScoredLine]:
    return [ScoredLine(text, score) for text in texts]


def test_a_query_of_several_samples_is_kept_once_with_its_share() -> None:
    written = select_queries([_lines("reed", "wind"), _lines("Reeds")])

    assert written.queries == ["reed", "wind"]
    assert [each.support for each in written.evidence] == [1.0, 0.5]


def test_the_same_query_twice_in_a_sample_is_one_sample() -> None:
    written = select_queries([_lines("reed", "reeds"), _lines("wind")])

    assert [each.support for each in written.evidence] == [0.5, 0.5]


def test_those_of_most_samples_come_first_then_the_likeliest() -> None:
    completions = [
        [ScoredLine("reed", -3.0), ScoredLine("oboe", -0.5)],
        [ScoredLine("wind", -1.0), ScoredLine("reed", -2.0)],
    ]

    assert select_queries(completions).queries == ["reed", "oboe", "wind"]
    assert select_queries(completions, max_queries=2).queries == ["reed", "oboe"]


def test_the_evidence_is_the_likeliest_line_rounded() -> None:
    completions = [[ScoredLine("reed", -3.0)], [ScoredLine("reed", -2.00049)]]

    assert select_queries(completions).evidence == [Evidence(1.0, -2.0)]


def test_an_unknown_log_probability_is_none_and_ranks_last() -> None:
    completions = [[ScoredLine("reed", math.nan), ScoredLine("wind", -9.0)]]

    written = select_queries(completions)

    assert written.queries == ["wind", "reed"]
    assert written.evidence == [Evidence(1.0, -9.0), Evidence(1.0, None)]


def test_nothing_written_is_nothing() -> None:
    assert select_queries([[], []]).queries == []


def test_what_all_samples_have_is_kept_whatever_is_found() -> None:
    found = {f"found {number}": [math.log(0.1)] for number in range(20)}

    written = select_queries([_lines("new"), _lines("new")], 16, found=[found, {}])

    assert written.queries[0] == "new"
    assert len(written.queries) == 16


def test_found_queries_come_by_how_often_they_are_expected() -> None:
    half, fifth = math.log(0.5), math.log(0.2)
    completions = [_lines("reed", "bagpipe"), _lines()]

    written = select_queries(
        completions, found=[{"oboe": [half, fifth], "reed": [fifth]}, {"oboe": [fifth]}]
    )

    assert written.queries == ["oboe", "reed", "bagpipe"]
    assert written.evidence == [
        Evidence(0.0, round(half, 2), 0.45),
        Evidence(0.5, -1.0, 0.1),
        Evidence(0.5, -1.0, 0.0),
    ]


def test_a_line_that_is_a_found_query_in_other_words_is_that_query() -> None:
    written = select_queries([_lines("reeds"), _lines("wind")], found=[{"Reed": [-0.7]}, {}])

    assert written.queries == ["Reed", "wind"]
    assert [each.support for each in written.evidence] == [0.5, 0.5]


def test_found_queries_of_the_same_words_are_told_apart() -> None:
    written = select_queries([[]], found=[{"car rental": [-0.5], "rental cars": [-1.0]}])

    assert written.queries == ["car rental", "rental cars"]


def test_searched_and_nothing_found_is_known_to_be_nothing() -> None:
    assert select_queries([_lines("reed")], found=[{}]).evidence == [Evidence(1.0, -1.0, 0.0)]
    assert select_queries([_lines("reed")]).evidence == [Evidence(1.0, -1.0, None)]
