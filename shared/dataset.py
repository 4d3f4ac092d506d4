"""A data folder: documents, queries with their split, clicks, and truth where there is any.

    documents.jsonl    {id, title, text, metadata{}}
    queries.jsonl      {id, text, metadata{}, split}        split: train, validation or test
    clicks.tsv         query id <tab> document id <tab> count
    qrels.tsv          query id <tab> document id <tab> relevance      complete truth or judgements
    propensities.tsv   query id <tab> document id <tab> probability    of a click, if a simulation knows it
    exploration.tsv    query id <tab> document id <tab> count          clicks on documents shown at random, weighed
                       by the inverse propensity where that varied
    impressions.tsv    query id <tab> document id <tab> count          how often the log showed what, clicked or not
    splits/NAME.tsv    query id <tab> split      another way to part the queries

A name that ends in .gz or .xz is packed. The row side is always the query. Other formats are read by
`shared/formats`.
"""

from __future__ import annotations

import gzip
import io
import lzma
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO, TypeVar, cast, get_args

from pydantic import Field, ValidationError

from shared.contracts.base import Contract, Identifier, QueryText
from shared.contracts.document import Document, MetadataValue
from shared.errors import InvalidInput, NotFound

Split = Literal["train", "validation", "test"]
Pairs = dict[str, dict[str, float]]
"""Query id -> document id -> click count or relevance."""

_Row = TypeVar("_Row", bound=Contract)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_ESCAPED = re.compile(r"(?:~[0-9A-F]{2})+")
_LONGEST_ID = 200
_OPENERS: Mapping[str, Callable[..., TextIO]] = {".gz": gzip.open, ".xz": lzma.open}
"""How a packed file is read, by the end of its name."""
_HEADERS = frozenset({"query id", "query_id", "query-id"})


class Query(Contract):
    """A query of the log (split train or validation) or of a test set."""

    id: Identifier
    text: QueryText
    metadata: dict[str, MetadataValue] = Field(default_factory=dict)
    split: Split = "train"


@dataclass(frozen=True)
class Dataset:
    """A data folder in memory. Clicks, truth and the like hold only known queries and documents."""

    documents: Sequence[Document]
    queries: Sequence[Query]
    clicks: Mapping[str, Mapping[str, float]]
    truth: Mapping[str, Mapping[str, float]]
    propensities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Golden propensities, of simulated clicks."""
    exploration: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Clicks on documents that were shown at random."""
    impressions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """How often the log showed a document for a query, clicked or not."""

    def queries_of(self, split: Split) -> list[Query]:
        """Return the queries of one split, in file order."""
        return [query for query in self.queries if query.split == split]


def read_dataset(folder: Path, *, split: str | None = None) -> Dataset:
    """Read a whole data folder.

    Args:
        folder: holds at least `documents.jsonl` and `queries.jsonl`.
        split: name of a file in `splits/` that replaces the queries' own split.

    Raises:
        NotFound: a file that must exist does not.
        InvalidInput: a row is malformed, repeats an id, or names an unknown one; names file and line.
    """
    documents = list(read_documents(folder / "documents.jsonl"))
    queries = list(read_queries(folder / "queries.jsonl"))
    for name, rows in (("documents", documents), ("queries", queries)):
        if not rows:
            raise InvalidInput(f"{folder / name}.jsonl: expected at least one row, found none")
    if split is not None:
        queries = _with_split(queries, folder / "splits" / f"{split}.tsv")
    document_ids = {document.id for document in documents}
    query_ids = {query.id for query in queries}

    def _pairs(name: str, *, adds_up: bool) -> Pairs:
        path = folder / name
        return read_pairs(path, query_ids, document_ids, adds_up=adds_up) if path.exists() else {}

    return Dataset(
        documents,
        queries,
        clicks=_pairs("clicks.tsv", adds_up=True),
        truth=_pairs("qrels.tsv", adds_up=False),
        propensities=_pairs("propensities.tsv", adds_up=False),
        exploration=_pairs("exploration.tsv", adds_up=True),
        impressions=_pairs("impressions.tsv", adds_up=True),
    )


def held_out_ids(folder: Path) -> set[str]:
    """Return the ids of the queries that a data folder's own split or any of `splits/` holds out."""
    queries = list(read_queries(folder / "queries.jsonl"))
    held = {query.id for query in queries if query.split != "train"}
    for path in sorted((folder / "splits").glob("*.tsv")):
        held |= {query.id for query in _with_split(queries, path) if query.split != "train"}
    return held


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write a data folder, each file whole or not at all; absent pairs leave no file."""
    write_rows(folder / "documents.jsonl", dataset.documents)
    write_rows(folder / "queries.jsonl", dataset.queries)
    for name, pairs in (
        ("clicks.tsv", dataset.clicks),
        ("qrels.tsv", dataset.truth),
        ("propensities.tsv", dataset.propensities),
        ("exploration.tsv", dataset.exploration),
        ("impressions.tsv", dataset.impressions),
    ):
        if pairs:
            write_pairs(folder / name, pairs)
        else:
            (folder / name).unlink(missing_ok=True)


def read_documents(path: Path) -> Iterator[Document]:
    """Yield documents one by one (flat memory but for the ids seen)."""
    return read_rows(path, Document)


def read_queries(path: Path) -> Iterator[Query]:
    """Yield queries one by one (flat memory but for the ids seen)."""
    return read_rows(path, Query)


def read_pairs(
    path: Path,
    query_ids: set[str] | None = None,
    document_ids: set[str] | None = None,
    *,
    adds_up: bool = True,
) -> Pairs:
    """Read `clicks.tsv` or `qrels.tsv`; a first line that begins with "query id" is a header.

    Args:
        path: query id, document id and a finite number of at least 0 a line, by tabs.
        query_ids: the known ones; anything goes if absent.
        document_ids: the known ones; anything goes if absent.
        adds_up: True sums the numbers of a pair that occurs twice (clicks); False refuses the
            second (a judgement is given once).
    """
    pairs: Pairs = {}
    for number, line in _lines(path):
        fields = line.split("\t")
        if number == 1 and fields[0].strip().lower() in _HEADERS:
            continue
        where = f"{path}:{number}"
        if len(fields) != 3:
            raise InvalidInput(f"{where}: expected query id, document id and a number, by tabs")
        query_id, document_id, value = fields[0], fields[1], _number(fields[2], where)
        if query_ids is not None and query_id not in query_ids:
            raise InvalidInput(f"{where}: unknown query id {query_id!r}")
        if document_ids is not None and document_id not in document_ids:
            raise InvalidInput(f"{where}: unknown document id {document_id!r}")
        row = pairs.setdefault(query_id, {})
        if document_id in row and not adds_up:
            raise InvalidInput(f"{where}: {query_id!r} and {document_id!r} occur together twice")
        row[document_id] = row.get(document_id, 0.0) + value
    return pairs


def write_rows(path: Path, rows: Iterable[Contract]) -> int:
    """Write documents or queries as JSON lines, whole or not at all; return how many."""
    return write_lines(path, (row.model_dump_json() for row in rows))


def write_pairs(path: Path, pairs: Mapping[str, Mapping[str, float]]) -> int:
    """Write `clicks.tsv` or `qrels.tsv`; whole numbers are written without a fraction."""
    return write_lines(
        path,
        (
            f"{query_id}\t{document_id}\t{plain_number(value)}"
            for query_id, row in pairs.items()
            for document_id, value in row.items()
        ),
    )


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines to a temporary name beside `path`, then move it into place; return how many.

    A name that ends in .gz or .xz is packed, the same bytes every time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    count = 0
    try:
        with _opened_to_write(temporary) as out:
            for line in lines:
                out.write(line + "\n")
                count += 1
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def plain_number(value: float) -> str:
    """Return a number in full precision, a whole one without a fraction."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def escape_id(raw: str) -> str:
    """Return `raw` within the id pattern: every other character becomes ~XX for each UTF-8 byte.

    Raises:
        InvalidInput: `raw` is empty or, escaped, longer than an id may be.
    """
    escaped = _UNSAFE.sub(
        lambda m: "".join(f"~{byte:02X}" for byte in m[0].encode(errors="surrogatepass")), raw
    )
    if not 1 <= len(escaped) <= _LONGEST_ID:
        raise InvalidInput(
            f"id {raw[:50]!r} has {len(escaped)} characters when escaped, "
            f"expected 1 to {_LONGEST_ID}"
        )
    return escaped


def unescape_id(escaped: str) -> str:
    """Undo `escape_id`.

    Raises:
        InvalidInput: an escape does not stand for UTF-8 text.
    """
    try:
        return _ESCAPED.sub(
            lambda m: bytes.fromhex(m[0].replace("~", "")).decode(errors="surrogatepass"), escaped
        )
    except UnicodeDecodeError as error:
        raise InvalidInput(f"id {escaped!r} was not made by escape_id") from error


def read_rows(path: Path, model: type[_Row], *, key: str | None = "id") -> Iterator[_Row]:
    """Yield the JSON lines of a file (packed if its name ends in .gz or .xz) as `model`.

    The field `key` must be distinct; None lets rows repeat.
    """
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            row = model.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ":".join([str(path), str(number), *(str(part) for part in first["loc"])])
            raise InvalidInput(f"{where}: {first['msg']}") from error
        if key is not None:
            identifier = str(getattr(row, key))
            if identifier in seen:
                raise InvalidInput(f"{path}:{number}: {key} {identifier!r} occurs twice")
            seen.add(identifier)
        yield row


def numbered_lines(
    path: Path, *, encoding: str = "utf-8-sig", newline: str | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of a text file, unpacked if its name ends in .gz or .xz.

    Args:
        path: of the file.
        encoding: the default takes a byte order mark or none.
        newline: what ends a line, as for `open`.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read or unpacked, or is not text in this encoding.
    """
    try:
        with (
            _OPENERS[path.suffix](path, "rt", encoding=encoding, newline=newline)
            if path.suffix in _OPENERS
            else path.open(encoding=encoding, newline=newline)
        ) as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text ({error.reason})") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path}: cannot be read ({reason})") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in numbered_lines(path) if line.strip())


@contextmanager
def _opened_to_write(path: Path) -> Iterator[TextIO]:
    with path.open("wb") as file:
        if path.suffix not in _OPENERS:
            with io.TextIOWrapper(file, encoding="utf-8") as text:
                yield text
            return
        with (
            (
                gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0)
                if path.suffix == ".gz"
                else lzma.LZMAFile(file, "wb", preset=9)
            ) as packed,
            io.TextIOWrapper(packed, encoding="utf-8") as text,
        ):
            yield text


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InvalidInput(f"{where}: {text!r} is not a finite number of at least 0")
    return value


def _with_split(queries: Sequence[Query], path: Path) -> list[Query]:
    known = {query.id for query in queries}
    splits: dict[str, Split] = {}
    for number, line in _lines(path):
        query_id, _, split = line.partition("\t")
        if split not in get_args(Split):
            raise InvalidInput(f"{path}:{number}: split {split!r} is none of {get_args(Split)}")
        if query_id not in known:
            raise InvalidInput(f"{path}:{number}: unknown query id {query_id!r}")
        if query_id in splits:
            raise InvalidInput(f"{path}:{number}: query id {query_id!r} occurs twice")
        splits[query_id] = cast("Split", split)
    missing = next((query.id for query in queries if query.id not in splits), None)
    if missing is not None:
        raise InvalidInput(f"{path}: query {missing!r} has no split")
    return [query.model_copy(update={"split": splits[query.id]}) for query in queries]
