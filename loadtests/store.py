"""What does a document cost in Redis, and how fast does a store move? `python -m loadtests.store --json [--documents 20000] [--save]`.

Documents of some lines, each with synthetic queries and labels with their provenance, in a real Valkey with its append-only
file on. Measured is `used_memory` before and after: of documents alone, then with labels. Then all of it is exported to a file
and imported into an empty server, and the counts are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from loadtests import results
from services.cli.store_files import export_to, import_from
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import Evidence, WrittenQueries
from shared.errors import Conflict, SkimError
from shared.store import RedisStore, Revision
from shared.store.server import RedisServer

DOCUMENTS = 20_000
LABELS = 8
"""Of a document."""
QUERIES = 8
"""Synthetic ones of a document."""
_TRAIN_QUERIES = 50_000
_TEXT = "A slender woodwind of grenadilla, played with a double reed; its keys are of silver. " * 3
_PAGE = 500

Figures = dict[str, str | int | float | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked; 1 if an error of ours stopped it."""
    options = _options(arguments)
    try:
        figures = measure(options.documents)
    except SkimError as error:
        print(f"loadtests.store: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    if options.save:
        command = f"python -m loadtests.store --json --documents {options.documents}"
        results.save("store", figures, command=command)
    return 0


def measure(documents: int) -> Figures:
    """Return the figures of so many documents.

    Raises:
        Conflict: what was imported is not what was exported.
        Unavailable: a server did not start.
    """
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
        home = Path(folder)
        with RedisServer(home / "one") as one, RedisServer(home / "other") as other:
            source, target = RedisStore.at(one.url), RedisStore.at(other.url)
            with redis.Redis.from_url(one.url) as client:
                source.check()
                empty = _bytes(client)
                jobs = [source.accept(page) for page in _pages(documents)]
                bare = _bytes(client)
                for page, job in zip(_pages(documents), jobs, strict=True):
                    for document in page:
                        _label(source, document, job.id)
                labelled = _bytes(client)
            path = home / "store.jsonl"
            began = time.perf_counter()
            export_to(path, source, _quiet)
            exported = time.perf_counter()
            counts = import_from(path, target, _quiet)
            imported = time.perf_counter()
            if counts != source.counts():
                raise Conflict(f"imported {counts}, expected {source.counts()}")
            size = path.stat().st_size
    labels = documents * LABELS
    return {
        "documents": documents,
        "labels": labels,
        "synthetic_queries": documents * QUERIES,
        "text_bytes_per_document": len(_document(0).model_dump_json()),
        "store_bytes_per_document": round((bare - empty) / documents),
        "store_bytes_per_label": round((labelled - bare) / labels),
        "export_documents_per_second": round(documents / (exported - began)),
        "import_documents_per_second": round(documents / (imported - exported)),
        "file_bytes_per_document": round(size / documents),
    }


def _pages(documents: int) -> list[list[Document]]:
    return [
        [_document(number) for number in range(start, min(start + _PAGE, documents))]
        for start in range(0, documents, _PAGE)
    ]


def _document(number: int) -> Document:
    return Document(
        id=f"d-{number:07}", title=f"oboe number {number}", text=_TEXT, metadata={"kind": "wind"}
    )


def _label(store: RedisStore, document: Document, job_id: str) -> None:
    number = int(document.id.removeprefix("d-"))
    written = WrittenQueries(
        queries=[f"synthetic query {rank} of {number}" for rank in range(QUERIES)],
        evidence=[Evidence(0.5, -1.5)] * QUERIES,
    )
    labels = [
        MappedQuery(
            query_id=f"q-{(number * 7 + rank * 31) % _TRAIN_QUERIES}",
            query=f"train query {rank}",
            similarity=0.9 - rank / 100,
            synthetic_query=written.queries[rank],
            rank=1 + rank,
            agreement=2,
            probability=0.75,
        )
        for rank in range(LABELS)
    ]
    store.put_synthetic_queries(document, "slm-1", written)
    revision = Revision(
        content_hash=document.content_hash,
        generator="slm-1",
        written=written,
        encoder="encoder-1",
        min_similarity=0.6,
        neighbours=10,
        labels=labels,
    )
    store.write_labels(document.id, revision)
    store.finish_document(job_id, document.id, labels=len(labels))


def _bytes(client: redis.Redis) -> int:
    memory: Any = client.info("memory")
    return int(memory["used_memory"])


def _quiet(done: int, total: int) -> None:
    """Tell nobody."""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.store", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="how many")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
