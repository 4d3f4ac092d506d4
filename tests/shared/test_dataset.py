from __future__ import annotations

import gzip
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.document import Document
from shared.dataset import (
    Dataset,
    Query,
    escape_id,
    held_out_ids,
    plain_number,
    read_dataset,
    read_documents,
    read_pairs,
    unescape_id,
    write_dataset,
    write_lines,
    write_pairs,
    write_rows,
)
from shared.errors import InvalidInput, NotFound
from tests.support.catalogue import DATASET

DOCUMENTS = [
    Document(id="oboe", title="oboe", text="a woodwind", metadata={"category": "artifact"}),
    Document(
        id="cup", title="cup\twith\ttabs", text="line\nbreak", metadata={"sizes": ["s", "m"]}
    ),
]
QUERIES = [
    Query(id="q1", text="wind instrument"),
    Query(id="q2", text="vessel", split="test"),
    Query(id="q3", text="Gefäß", split="validation"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "documents.jsonl", DOCUMENTS)
    write_rows(tmp_path / "queries.jsonl", QUERIES)
    write_pairs(tmp_path / "clicks.tsv", {"q1": {"oboe": 3.0}})
    write_pairs(tmp_path / "qrels.tsv", {"q1": {"oboe": 1.0}, "q2": {"cup": 0.5, "oboe": 0.0}})
    write_lines(tmp_path / "splits" / "swapped.tsv", ["q1\ttest", "q2\ttrain", "q3\ttrain"])
    return tmp_path


def test_a_folder_comes_back_as_it_was_written(folder: Path) -> None:
    dataset = read_dataset(folder)

    assert dataset.documents == DOCUMENTS
    assert dataset.queries == QUERIES
    assert dataset.clicks == {"q1": {"oboe": 3.0}}
    assert dataset.truth == {"q1": {"oboe": 1.0}, "q2": {"cup": 0.5, "oboe": 0.0}}
    assert dataset.queries_of("test") == [QUERIES[1]]


def test_writing_another_data_set_leaves_no_clicks_of_the_former(tmp_path: Path) -> None:
    pairs = {"q1": {"oboe": 2.0}}
    former = Dataset(DOCUMENTS, QUERIES, clicks=pairs, truth=pairs)
    write_dataset(tmp_path, former)
    assert read_dataset(tmp_path) == former

    latter = Dataset(DOCUMENTS, QUERIES, clicks={}, truth={"q2": {"cup": 0.5}})
    write_dataset(tmp_path, latter)

    assert read_dataset(tmp_path) == latter


def test_clicks_and_truth_may_be_absent(folder: Path) -> None:
    (folder / "clicks.tsv").unlink()
    (folder / "qrels.tsv").unlink()

    dataset = read_dataset(folder)

    assert (dataset.clicks, dataset.truth) == ({}, {})


def test_another_split_replaces_the_queries_own(folder: Path) -> None:
    dataset = read_dataset(folder, split="swapped")

    assert [query.split for query in dataset.queries] == ["test", "train", "train"]


def test_a_split_nobody_wrote_is_not_found(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"splits.other\.tsv: no such file"):
        read_dataset(folder, split="other")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["q1\ttest", "q2\ttrain"], "query 'q3' has no split"),
        (["q1\tdev"], r"swapped\.tsv:1: split 'dev' is none of"),
        (["q9\ttest"], r"swapped\.tsv:1: unknown query id 'q9'"),
        (["q1\ttest", "q1\ttrain"], r"swapped\.tsv:2: query id 'q1' occurs twice"),
    ],
)
def test_a_split_must_part_all_queries_once(folder: Path, lines: list[str], message: str) -> None:
    write_lines(folder / "splits" / "swapped.tsv", lines)

    with pytest.raises(InvalidInput, match=message):
        read_dataset(folder, split="swapped")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"documents\.jsonl:2: Invalid JSON"),
        ("[]", r"documents\.jsonl:2: "),
        ('{"id": "x"}', r"documents\.jsonl:2:title: Field required"),
        ('{"id": "x", "title": "  "}', r"documents\.jsonl:2:title: "),
        ('{"id": "a b", "title": "x"}', r"documents\.jsonl:2:id: "),
        ('{"id": "x", "title": "x", "tilte": "y"}', r"documents\.jsonl:2:tilte: Extra inputs"),
        ('{"id": "oboe", "title": "x"}', r"documents\.jsonl:2: id 'oboe' occurs twice"),
        ('{"id": "x", "title": "\\ud800"}', r"documents\.jsonl:2: Invalid JSON"),
        (
            '{"id": "x", "title": "x", "text": "' + "a" * 1_000_000 + '"}',
            r"documents\.jsonl:2:text: String should have at most 100000 characters",
        ),
        ('{"id": "x", "title": "x", "metadata": {"size": NaN}}', r"documents\.jsonl:2:metadata"),
    ],
)
def test_a_bad_document_is_told_with_file_and_line(folder: Path, line: str, message: str) -> None:
    write_lines(folder / "documents.jsonl", [DOCUMENTS[0].model_dump_json(), line])

    with pytest.raises(InvalidInput, match=message):
        read_dataset(folder)


@pytest.mark.parametrize("name", ["documents", "queries"])
def test_a_folder_without_documents_or_queries_is_refused(folder: Path, name: str) -> None:
    (folder / f"{name}.jsonl").write_text("\n")

    with pytest.raises(InvalidInput, match=rf"{name}\.jsonl: expected at least one row"):
        read_dataset(folder)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"documents\.jsonl: no such file"):
        read_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1\tcup", "expected query id, document id and a number, by tabs"),
        ("q1\tcup\t1\t2", "expected query id, document id and a number, by tabs"),
        ("q1 cup 1", "expected query id, document id and a number, by tabs"),
        ("q1\tcup\tmany", "'many' is not a finite number of at least 0"),
        ("q1\tcup\tnan", "'nan' is not a finite number"),
        ("q1\tcup\tinf", "'inf' is not a finite number"),
        ("q1\tcup\t-1", "'-1' is not a finite number"),
        ("q9\tcup\t1", "unknown query id 'q9'"),
        ("q1\tfork\t1", "unknown document id 'fork'"),
    ],
)
@pytest.mark.parametrize("name", ["clicks.tsv", "qrels.tsv"])
def test_a_bad_pair_is_told_even_on_the_first_line(
    folder: Path, name: str, line: str, message: str
) -> None:
    (folder / name).write_text(line + "\n")

    with pytest.raises(InvalidInput, match=rf"{name}:1: {message}"):
        read_dataset(folder)


def test_clicks_on_a_pair_add_up_and_a_second_judgement_is_refused(folder: Path) -> None:
    path = folder / "clicks.tsv"
    path.write_text("query id\tdocument id\tcount\nq1\toboe\t2\nq1\toboe\t1\n")

    assert read_pairs(path) == {"q1": {"oboe": 3.0}}
    with pytest.raises(InvalidInput, match=":3: 'q1' and 'oboe' occur together twice"):
        read_pairs(path, adds_up=False)


def test_blank_lines_byte_order_marks_and_windows_line_ends_are_no_data(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    row = DOCUMENTS[0].model_dump_json().encode()
    path.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\r\n")

    assert list(read_documents(path)) == [DOCUMENTS[0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("documents.jsonl", b"\xff\xfe", "not UTF-8 text"),
        ("documents.jsonl.gz", b"plain", "cannot be read"),
        ("documents.jsonl.gz", gzip.compress(b"x" * 99, mtime=0)[:-9], "cannot be read"),
        ("documents.jsonl.xz", b"plain", "cannot be read"),
        ("documents.jsonl.xz", lzma.compress(b"x" * 99)[:-9], "cannot be read"),
    ],
)
def test_a_file_that_is_not_text_is_told(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InvalidInput, match=message):
        list(read_documents(tmp_path / name))


def test_a_folder_in_a_files_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        list(read_documents(tmp_path))


@pytest.mark.parametrize(("packed", "magic"), [(".gz", b"\x1f\x8b"), (".xz", b"\xfd7zXZ")])
def test_packed_rows_come_back_and_are_the_same_bytes_every_time(
    tmp_path: Path, packed: str, magic: bytes
) -> None:
    first, second = tmp_path / f"a.jsonl{packed}", tmp_path / f"b.jsonl{packed}"
    write_rows(first, DOCUMENTS)
    write_rows(second, DOCUMENTS)

    assert list(read_documents(first)) == DOCUMENTS
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(magic)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "clicks.tsv"
    path.write_text("old\n")

    with pytest.raises(ZeroDivisionError):
        write_lines(path, (str(1 / number) for number in (1, 0)))

    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1_234_567.0, "1234567"), (0.1, "0.1"), (1e-7, "1e-07")]
)
def test_numbers_are_written_in_full(value: float, text: str) -> None:
    assert plain_number(value) == text


@given(st.text(min_size=1, max_size=15))
def test_escaping_an_id_is_reversible_and_fits_the_pattern(raw: str) -> None:
    escaped = escape_id(raw)

    assert unescape_id(escaped) == raw
    assert Query(id=escaped, text="x").id == escaped


def test_escaping_leaves_plain_ids_alone() -> None:
    assert escape_id("B07-x_1.y") == "B07-x_1.y"
    assert escape_id("oboe%1:06:00::") == "oboe~251~3A06~3A00~3A~3A"


@pytest.mark.parametrize("raw", ["", "é" * 40])
def test_an_id_that_cannot_fit_is_refused(raw: str) -> None:
    with pytest.raises(InvalidInput, match="expected 1 to 200"):
        escape_id(raw)


def test_unescaping_what_was_never_escaped_is_refused() -> None:
    with pytest.raises(InvalidInput, match="was not made by escape_id"):
        unescape_id("~FF")


def test_golden_propensities_and_an_exploration_log_come_back(tmp_path: Path) -> None:
    dataset = replace(DATASET, propensities={"q1": {"d1": 0.25}}, exploration={"q3": {"d2": 1.0}})

    write_dataset(tmp_path, dataset)

    assert read_dataset(tmp_path) == dataset


def test_a_query_is_held_out_if_any_split_holds_it_out(tmp_path: Path) -> None:
    splits = {"a": "train", "b": "validation", "c": "train"}
    queries = [Query(id=name, text=name, split=split) for name, split in splits.items()]
    write_dataset(tmp_path, replace(DATASET, queries=queries, clicks={}, truth={}))
    write_lines(tmp_path / "splits" / "other.tsv", ["a\ttrain", "b\ttrain", "c\ttest"])

    assert held_out_ids(tmp_path) == {"b", "c"}
