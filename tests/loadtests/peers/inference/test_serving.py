from pathlib import Path

import pytest

from loadtests.peers.inference.serving import session_rss_mb
from shared.errors import Unavailable
from tests.support.rivals import QUERIES, fake, tiny_catalogue


def test_a_rival_answers_in_a_session_of_its_own_until_it_is_left(tmp_path: Path) -> None:
    with fake(tiny_catalogue(tmp_path)) as served:
        found = served.top(QUERIES)
        memory, worked = served.rss_mb(), served.cpu_seconds()

    assert [ads[0] for ads in found] == [f"ad-{query}" for query in QUERIES]
    assert {len(ads) for ads in found} == {10}
    assert memory > 10
    assert worked > 0
    assert served.rss_mb() == 0


def test_what_is_sent_is_what_the_protocol_says(tmp_path: Path) -> None:
    with fake(tiny_catalogue(tmp_path)) as served:
        assert served.request("red wine").startswith(
            b"GET /search?query=red+wine&limit=10 HTTP/1.1"
        )


def test_a_rival_that_stops_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(Unavailable, match="fake stopped: unlucky"),
        fake(tiny_catalogue(tmp_path), "stops"),
    ):
        pass


def test_an_answer_that_is_an_error_is_no_answer(tmp_path: Path) -> None:
    with (
        fake(tiny_catalogue(tmp_path), "fails") as served,
        pytest.raises(Unavailable, match="fake: no answer to '3'"),
    ):
        served.top(["3"])


def test_a_session_that_is_not_there_has_no_memory() -> None:
    assert session_rss_mb(2**22 + 1) == 0
