from pathlib import Path

import orjson
import pytest

from loadtests.mixed_documents import mixed_documents, spread
from shared.errors import InvalidInput, NotFound


@pytest.fixture
def things(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    rows = [{"id": f"thing-{number}", "title": "A thing"} for number in range(20)]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages.jsonl"
    rows = [
        {"document": {"id": f"page-{number}", "title": "A page"}, "queries": ["a page"]}
        for number in range(10)
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


def test_half_of_the_documents_are_pages_and_none_occurs_twice(things: Path, pages: Path) -> None:
    ids = [document.id for document in mixed_documents(things, pages, 9)]

    assert sum(one.startswith("page-") for one in ids) == 4
    assert len(set(ids)) == 9


def test_the_mix_is_the_same_every_time(things: Path, pages: Path) -> None:
    assert mixed_documents(things, pages, 8) == mixed_documents(things, pages, 8)


def test_too_few_documents_are_an_error_that_names_the_file(things: Path, pages: Path) -> None:
    with pytest.raises(InvalidInput, match=r"pages\.jsonl: expected at least 15 documents"):
        mixed_documents(things, pages, 30)


def test_missing_pages_are_named(things: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.jsonl"):
        mixed_documents(things, tmp_path / "none.jsonl", 2)


def test_a_row_without_a_document_is_an_error_that_names_its_line(
    things: Path, tmp_path: Path
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"queries": []}\n')

    with pytest.raises(InvalidInput, match=r"odd\.jsonl:1"):
        mixed_documents(things, path, 2)


def test_a_sample_is_spread_over_the_sizes() -> None:
    assert spread(3, [50, 10, 30, 20, 40]) == [0, 1, 2]  # sizes 50, 10 and 30


def test_a_sample_is_never_larger_than_the_whole() -> None:
    assert spread(9, [5, 6]) == [0, 1]
