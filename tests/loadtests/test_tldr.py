"""The data folder of shell commands."""

import gzip
import json
from pathlib import Path

import pytest

from loadtests.tldr import read

PAGES = [
    {"id": f"common/{name}", "title": name, "platform": "common", "description": f"{name} things.",
     "examples": [{"text": f"Use {name} {n}", "command": name} for n in range(9)]}
    for name in ("grep", "sed", "ls", "tar", "awk")
]  # fmt: skip
REQUESTS = [
    {"id": "nl0", "text": "Find  a word\nin files"},
    {"id": "nl1", "text": "find a word in files"},
    {"id": "nl2", "text": "Replace a word"},
    {"id": "nl3", "text": "nobody knows the answer"},
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, rows in (("docs", PAGES), ("queries-nl2bash", REQUESTS)):
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    with gzip.open(tmp_path / "qrels-nl2bash.tsv.gz", "wt") as file:
        file.write("query_id\tdoc_id\trelevance\tsource\n")
        file.write("nl0\tcommon/grep\t1\tx\nnl1\tcommon/sed\t1\tx\nnl2\tcommon/sed\t1\tx\n")
    return tmp_path


def test_pages_that_are_needed_are_kept_and_others_fill_up(source: Path) -> None:
    dataset = read(source, 3)

    ids = [document.id for document in dataset.documents]
    assert len(ids) == 3
    assert {"common~2Fgrep", "common~2Fsed"} < set(ids)
    assert read(source, 3) == dataset


def test_a_request_is_one_query_on_one_line_however_often_it_was_asked(source: Path) -> None:
    dataset = read(source, 5)

    assert {query.id: query.text for query in dataset.queries} == {
        "nl0": "Find a word in files",
        "nl2": "Replace a word",
    }
    assert dataset.truth == {"nl0": {"common~2Fgrep": 1.0}, "nl2": {"common~2Fsed": 1.0}}


def test_a_page_shows_its_first_examples_without_their_commands(source: Path) -> None:
    document = next(each for each in read(source, 5).documents if each.id == "common~2Fsed")

    assert (document.title, document.text) == ("sed", "sed things.")
    assert document.metadata == {
        "platform": "common",
        "examples": [f"Use sed {n}" for n in range(6)],
    }
