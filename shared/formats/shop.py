"""A product feed and a click log as shops export them: two tables with headers, whose columns are known by their usual names."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.contracts.document import Document
from shared.dataset import Dataset, Query, Split
from shared.errors import InvalidInput
from shared.formats.records import make_document, make_id
from shared.formats.tables import Row, read_table
from shared.plain_text import query_key, signature

ID = ("id", "product_id", "document_id", "item_id", "ad_id", "sku")
TITLE = ("title", "name", "product_name", "product_title")
TEXT = ("text", "description", "product_description", "body")
QUERY = ("query", "search_term", "search_query", "keyword", "q")
CLICKED = ("product_id", "document_id", "item_id", "ad_id", "sku", "id")
CLICKS = ("clicks", "count", "n")
SHOWN = ("impressions", "shown", "views")
_LONGEST_QUERY = 1_000


@dataclass(frozen=True)
class ShopData:
    """What was read, and what of the log could not be."""

    dataset: Dataset
    unknown_products: int
    """Rows of the log whose product is not in the feed."""
    empty_queries: int


def read_shop(
    feed: Path, log: Path, *, validation_share: float = 0.1, test_share: float = 0.0
) -> ShopData:
    """Read a product feed and a click log.

    Other columns of the feed become metadata, numbers where all of a column are. Spellings of a query that differ in case or
    spaces are one query, whose text is the most frequent. Its split follows from its words alone: near-duplicates share
    one, and a longer log of the same shop parts the queries it had before alike.

    Args:
        feed: columns `ID`, `TITLE`, maybe `TEXT`; CSV, TSV, JSON lines or Parquet.
        log: columns `QUERY`, `CLICKED`, maybe `CLICKS` (1 if absent) and `SHOWN`; rows of a pair add up.
        validation_share: of queries that are kept for choosing.
        test_share: of queries that nothing learns from.

    Raises:
        NotFound: a file is missing.
        InvalidInput: a row is malformed, an id repeats, or a column is missing; names file and row.
    """
    documents = _documents(feed)
    known = {document.id for document in documents}
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    clicks: dict[str, dict[str, float]] = defaultdict(dict)
    shown: dict[str, dict[str, float]] = defaultdict(dict)
    unknown = empty = 0
    for where, row in read_table(log, ()):
        text = " ".join(_cell(where, row, QUERY).split())[:_LONGEST_QUERY]
        document_id = make_id(where, _cell(where, row, CLICKED))
        key = query_key(text)
        if not key:
            empty += 1
            continue
        if document_id not in known:
            unknown += 1
            continue
        count = _number(where, row, CLICKS, 1.0)
        views = _number(where, row, SHOWN, 0.0)
        spellings[key][text] += 1
        for pairs, value in ((clicks, count), (shown, views)):
            if value:
                pairs[key][document_id] = pairs[key].get(document_id, 0.0) + value
    ids = {key: _id_of(key) for key in spellings}
    dataset = Dataset(
        documents=documents,
        queries=[
            Query(
                id=ids[key],
                text=texts.most_common(1)[0][0],
                split=_split_of(key, validation_share, test_share),
            )
            for key, texts in spellings.items()
        ],
        clicks={ids[key]: row for key, row in clicks.items()},
        truth={},
        impressions={ids[key]: row for key, row in shown.items()},
    )
    return ShopData(dataset, unknown, empty)


def _documents(feed: Path) -> list[Document]:
    rows: dict[str, tuple[str, Row]] = {}
    for where, row in read_table(feed, ()):
        document_id = make_id(where, _cell(where, row, ID))
        if document_id in rows:
            raise InvalidInput(f"{where}: id {_cell(where, row, ID)!r} occurs twice")
        rows[document_id] = where, row
    numeric = _numeric([row for _, row in rows.values()])
    documents = []
    for document_id, (where, row) in rows.items():
        named = {_known(row, names) for names in (ID, TITLE, TEXT)}
        metadata = {
            name: _as_number(value) if name in numeric and value else value
            for name, value in row.items()
            if name not in named
        }
        text = row.get(_known(row, TEXT) or "", "")
        documents.append(
            make_document(document_id, _cell(where, row, TITLE, or_empty=True), text, metadata)
        )
    return documents


def _numeric(rows: Sequence[Row]) -> set[str]:
    """Return the columns whose values are all numbers, as far as there are any."""
    return {
        name
        for name in (rows[0] if rows else {})
        if any(row.get(name) for row in rows)
        and all(_is_number(row[name]) for row in rows if row.get(name))
    }


def _is_number(value: str) -> bool:
    try:
        return abs(float(value)) < 2**53
    except ValueError:
        return False


def _as_number(value: str) -> float | int:
    number = float(value)
    return int(number) if number.is_integer() else number


def _known(row: Mapping[str, str], names: Sequence[str]) -> str | None:
    by_plain_name = {name.strip().lower().replace(" ", "_"): name for name in row}
    return next((by_plain_name[name] for name in names if name in by_plain_name), None)


def _cell(where: str, row: Row, names: Sequence[str], *, or_empty: bool = False) -> str:
    name = _known(row, names)
    if name is None and not or_empty:
        raise InvalidInput(f"{where}: no column {names[0]!r}; known names are {', '.join(names)}")
    return "" if name is None else row[name].strip()


def _number(where: str, row: Row, names: Sequence[str], absent: float) -> float:
    name = _known(row, names)
    if name is None or not row[name].strip():
        return absent
    value = row[name].strip()
    if not _is_number(value) or float(value) < 0:
        raise InvalidInput(f"{where}: {name} is {value[:50]!r}, expected a number of at least 0")
    return float(value)


def _id_of(key: str) -> str:
    return f"q-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _split_of(key: str, validation_share: float, test_share: float) -> Split:
    words = " ".join(signature(key)) or key
    place = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) / 2**64
    if place < validation_share:
        return "validation"
    return "test" if place < validation_share + test_share else "train"
