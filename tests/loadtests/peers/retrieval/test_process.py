import sys
from pathlib import Path

import pytest

from loadtests.peers.retrieval.contenders import Peer
from loadtests.peers.retrieval.process import Answer, ask
from loadtests.peers.retrieval.protocol import NOBODY, RetrievalJob
from shared.errors import Expired, InvalidInput, SkimError, Unavailable

FAKE = Peer("fake", Path(sys.executable), "tests.support.fake_retriever")


def asked(folder: Path, first_document: str = "oak bed", *, seconds: float = 30) -> Answer:
    job = RetrievalJob([first_document, "clock"], ["bed"], [(0, 1)], ["watch", "chair"])
    return ask(FAKE, job, folder, threads=1, timeout_seconds=seconds)


def test_a_peer_in_its_own_process_ranks_documents_for_every_query(tmp_path: Path) -> None:
    answer = asked(tmp_path / "job")

    assert answer.ranked[:, :3].tolist() == [[1, 0, NOBODY]] * 2
    assert answer.seconds > 0


def test_an_answer_that_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    first = asked(tmp_path)

    again = ask(
        Peer("fake", Path("/nowhere"), "nothing"),
        RetrievalJob(["oak bed", "clock"], ["bed"], [(0, 1)], ["watch", "chair"]),
        tmp_path,
        threads=1,
        timeout_seconds=30,
    )

    assert again.ranked.tolist() == first.ranked.tolist()
    assert again.seconds == pytest.approx(first.seconds, abs=0.1)


@pytest.mark.parametrize(
    ("end", "error", "message"),
    [
        ("fails", Unavailable, "fake stopped: unlucky"),
        ("dies", Unavailable, "fake stopped: killed by SIGKILL"),
        ("says nothing", Unavailable, "fake ended without an answer"),
        ("repeats itself", InvalidInput, "a document is ranked twice"),
        ("invents", InvalidInput, "a rank is none of 2 documents"),
        ("forgets", InvalidInput, r"int64 \(0, 100\), expected int64 \(2, ranks\)"),
    ],
)
def test_what_is_no_answer_is_an_error_of_one_line(
    tmp_path: Path, end: str, error: type[SkimError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        asked(tmp_path, end)

    assert "\n" not in str(raised.value)


def test_a_peer_that_failed_is_asked_again(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        asked(tmp_path, "fails")

    assert asked(tmp_path).ranked[0, 0] == 1


def test_a_peer_that_never_ends_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(Expired, match="fake had no answer after 0 s"):
        asked(tmp_path, "never ends", seconds=0.3)


def test_a_peer_without_an_interpreter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"/nowhere: cannot be run \(No such file"):
        ask(
            Peer("fake", Path("/nowhere"), "nothing"),
            RetrievalJob(["a"], [], [], ["b"]),
            tmp_path,
            threads=1,
            timeout_seconds=30,
        )
