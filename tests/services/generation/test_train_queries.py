from pathlib import Path

import pytest

from services.generation.train_queries import read_texts
from services.mapping.index_builder import build_index
from shared.dataset import Query, write_rows
from shared.errors import Damaged, InvalidInput, NotFound
from tests.support.encoders import BagOfWordsEncoder

QUERIES = [Query(id="q1", text="reed"), Query(id="q2", text="double reed")]


def test_a_file_gives_its_train_queries_only(tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    write_rows(file, [*QUERIES, Query(id="q3", text="held out", split="test")])

    assert read_texts(file) == ["reed", "double reed"]


def test_an_index_gives_the_queries_it_was_written_with(tmp_path: Path) -> None:
    build_index(QUERIES, BagOfWordsEncoder(), tmp_path / "index", lambda *_: None)

    assert sorted(read_texts(tmp_path / "index")) == ["double reed", "reed"]


def test_a_folder_without_an_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="skim mapping build"):
        read_texts(tmp_path)


def test_a_manifest_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")

    with pytest.raises(Damaged, match=r"manifest\.json"):
        read_texts(tmp_path)


def test_a_file_without_a_train_query_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    write_rows(file, [Query(id="q3", text="held out", split="test")])

    with pytest.raises(InvalidInput, match="no train query"):
        read_texts(file)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()

    with pytest.raises(Damaged, match="cannot be read"):
        read_texts(tmp_path)
