from pathlib import Path

import numpy as np
import pytest

from loadtests.peers.retrieval.contenders import Peer, peers
from loadtests.peers.retrieval.process import Answer
from loadtests.peers.retrieval.protocol import NOBODY, RetrievalJob
from loadtests.results import markdown_table
from loadtests.retrieval import answer_folder, main, measure, table
from shared.dataset import write_dataset, write_lines
from shared.errors import InvalidInput, NotFound
from shared.settings import CommonSettings
from tests.support.catalogue import DATASET

PERFECT, USELESS = Peer("perfect", Path(), ""), Peer("useless", Path(), "")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Both splits ask for the clock, by another name."""
    write_dataset(tmp_path, DATASET)
    write_lines(tmp_path / "splits" / "new_intents.tsv", ["q1\ttest", "q2\ttrain", "q3\ttrain"])
    return tmp_path


def answer(peer: Peer, job: RetrievalJob) -> Answer:
    found = 1 if peer is PERFECT else NOBODY
    return Answer(np.full((len(job.test_queries), 1), found), seconds=1.25)


def test_every_peer_is_judged_on_every_split(tmp_path: Path, data: Path) -> None:
    write_lines(data / "clicks.tsv", ["q1\td2\t1", "q3\td2\t1"])

    figures = measure(data, [PERFECT, USELESS], answer)

    assert list(figures) == ["new_wordings", "new_intents"]
    for split in figures.values():
        assert list(split) == ["peers"]
        assert split["peers"]["perfect"]["recall_at_100"] == 1
        assert split["peers"]["perfect"]["recall_at_10_low"] == 1
        assert split["peers"]["perfect"]["seconds"] == 1.25
        assert split["peers"]["useless"]["recall_at_100_high"] == 0


def test_the_table_has_a_row_a_split_and_peer_and_intervals_in_one_cell() -> None:
    figures = {"recall_at_10": 0.41251, "recall_at_10_low": 0.4, "recall_at_10_high": 0.42}

    lines = markdown_table(table({"new_wordings": {"peers": {"bm25": figures}}})).splitlines()

    assert lines[0] == "| split | peer | recall_at_10 |"
    assert lines[2] == "| new_wordings | bm25 | 0.413 (0.4 - 0.42) |"


def test_another_job_or_version_of_a_peer_has_another_answer() -> None:
    job = RetrievalJob(["a"], ["b"], [(0, 0)], ["c"])
    other_job = RetrievalJob(["a"], ["b"], [(0, 0)], ["d"])
    home = Path("home")

    folders = {
        answer_folder(home, PERFECT, job),
        answer_folder(home, PERFECT, other_job),
        answer_folder(home, Peer("perfect", Path(), "", version="2"), job),
    }

    assert len(folders) == 3
    assert answer_folder(home, PERFECT, job) in folders


def test_a_peer_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"loadtests\.peers\.install --only pecos"):
        peers(CommonSettings(home=tmp_path), ["pecos"])


def test_an_unknown_peer_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'colbert' is none of bm25, pecos"):
        peers(CommonSettings(home=tmp_path), ["colbert"])


def test_an_error_of_ours_is_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), "--peers", "colbert"]) == 1

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("loadtests.retrieval: peer 'colbert'")
