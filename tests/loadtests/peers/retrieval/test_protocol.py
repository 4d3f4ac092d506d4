from pathlib import Path

import numpy as np

from loadtests.peers.retrieval.protocol import (
    JOB,
    NOBODY,
    RANKED,
    RANKS,
    RetrievalJob,
    best_first,
    read_job,
    write_answer,
)

WORK = RetrievalJob(["oak bed", "cl\u00f6ck"], ["bed"], [(0, 1)], ["watch"])


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / JOB).write_text(WORK.as_json())

    assert read_job(tmp_path) == WORK


def test_short_rows_of_an_answer_are_filled_up_and_long_ones_cut(tmp_path: Path) -> None:
    write_answer(tmp_path, [[3, 1], range(RANKS + 5), []])

    ranked = np.load(tmp_path / RANKED)
    assert ranked.shape == (3, RANKS)
    assert ranked[0].tolist() == [3, 1] + [NOBODY] * (RANKS - 2)
    assert ranked[1].tolist() == list(range(RANKS))
    assert set(ranked[2].tolist()) == {NOBODY}
    assert [path.name for path in tmp_path.iterdir()] == [RANKED]


def test_the_highest_score_comes_first_and_of_equals_the_first() -> None:
    assert best_first(np.array([[0.1, 0.9, 0.9]], dtype=np.float32)).tolist() == [[1, 2, 0]]
