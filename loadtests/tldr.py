"""Make a data folder of tldr-pages and NL2Bash: `python -m loadtests.tldr SOURCE --target DIR`.

SOURCE holds `docs.jsonl.gz`, `queries-nl2bash.jsonl.gz` and `qrels-nl2bash.tsv.gz`. A page is a document: its description is
the text, its examples are metadata. Queries are NL2Bash's requests, whose commands say which pages are right; none of
them is an example of a page. Pages that no request needs are drawn at random up to `--documents`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.contracts.document import Document
from shared.dataset import Dataset, Pairs, Query, Split, escape_id, write_dataset

_EXAMPLES = 6
_SHARES: tuple[tuple[Split, float], ...] = (("train", 0.6), ("validation", 0.7), ("test", 1.0))
"""Splits, and where in [0, 1) each ends."""


def main() -> None:
    """Write the folder and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of tldr and NL2Bash files")
    parser.add_argument("--target", type=Path, required=True, help="data folder to write")
    parser.add_argument("--documents", type=int, default=1_500)
    options = parser.parse_args()
    dataset = read(options.source, options.documents)
    write_dataset(options.target, dataset)
    counts = {split: len(dataset.queries_of(split)) for split, _ in _SHARES}
    print(json.dumps({"documents": len(dataset.documents), **counts}))


def read(source: Path, documents: int) -> Dataset:
    """Return pages, requests and which pages are right for them; the same for the same files."""
    pages = {escape_id(row["id"]): row for row in _rows(source / "docs.jsonl.gz")}
    truth: Pairs = {}
    with gzip.open(source / "qrels-nl2bash.tsv.gz", "rt", encoding="utf-8") as file:
        next(file)
        for line in file:
            query_id, page, relevance, _ = line.rstrip("\n").split("\t")
            truth.setdefault(query_id, {})[escape_id(page)] = float(relevance)
    queries: dict[str, Query] = {}
    for row in _rows(source / "queries-nl2bash.jsonl.gz"):
        text = " ".join(row["text"].split())
        if row["id"] in truth and text:
            query = Query(id=row["id"], text=text[:1_000], split=_split_of(text.lower()))
            queries.setdefault(text.lower(), query)
    needed = {page for query in queries.values() for page in truth[query.id]}
    others = sorted(pages.keys() - needed)
    drawn = random.Random(0).sample(others, max(0, min(documents - len(needed), len(others))))
    kept = sorted(needed.union(drawn))
    return Dataset(
        [_document(page, pages[page]) for page in kept],
        list(queries.values()),
        clicks={},
        truth={query.id: truth[query.id] for query in queries.values()},
    )


def _document(page: str, row: dict[str, Any]) -> Document:
    examples = [example["text"] for example in row["examples"][:_EXAMPLES]]
    return Document(
        id=page,
        title=row["title"],
        text=row["description"],
        metadata={"platform": row["platform"], "examples": examples},
    )


def _split_of(text: str) -> Split:
    place = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8
    return next(split for split, end in _SHARES if place < end)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    main()
