import pytest

from loadtests.peers.protocol import Job, Transcript
from loadtests.written import speed_of

NEWLINE, END = 10, 2
JOB = Job(prompts=[[1], [1, 1]], arrivals=[0.0, 1.0], max_new_tokens=8, end_id=END)


def written(
    tokens: list[list[int]], seconds: list[list[float]], finished: list[float]
) -> Transcript:
    return Transcript(tokens, seconds, finished)


def test_speed_is_what_was_finished_until_the_last_was() -> None:
    transcript = written([[5, 6], [7, 8]], [[1, 2], [3, 4]], [2.5, 4.0])

    speed = speed_of(JOB, transcript, {NEWLINE})

    assert speed.documents_per_second == 0.5
    assert speed.tokens_per_second == 1.0
    assert speed.tokens_per_document == 2.0


def test_a_first_query_is_there_when_its_line_ends() -> None:
    transcript = written(
        [[5, NEWLINE, 6, NEWLINE], [7, 8]], [[0.5, 0.75, 1, 1.25], [3, 4]], [1.5, 4.5]
    )

    speed = speed_of(JOB, transcript, {NEWLINE})

    assert speed.first_query_ms == [750, 3500]  # the second has one line, and came at second 1
    assert speed.first_query_p50_ms == 2125


def test_an_empty_line_is_not_a_query() -> None:
    transcript = written([[NEWLINE, 5, NEWLINE], []], [[0.1, 0.2, 0.3], []], [0.4, 1.5])

    assert speed_of(JOB, transcript, {NEWLINE}).first_query_ms == pytest.approx([300, 500])


def test_two_runs_are_judged_together() -> None:
    once = speed_of(JOB, written([[5], [7]], [[1], [1]], [1, 2]), {NEWLINE})
    again = speed_of(JOB, written([[5], [7]], [[1], [1]], [1, 4]), {NEWLINE})

    both = once + again

    assert both.documents_per_second == pytest.approx(4 / 6)
    assert len(both.first_query_ms) == 4
