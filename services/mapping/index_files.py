"""The files of a train-query index: written whole, moved into place, verified before they are loaded.

manifest.json             encoder, dimensions, counts, version, sha256 of the files it names
index-DIGEST.hnsw         a segment of the graph: hnswlib, inner product of unit vectors; their rows, one after another, are the lines of
queries-DIGEST.jsonl      the train queries
journal-DIGEST-VERSION.bin what changed since, of that index at that version (journal.py)
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from services.mapping.query_list import QueryList
from services.mapping.segmented_graph import HnswParameters, SegmentedGraph
from services.mapping.train_query_checks import train_only
from services.mapping.train_query_index import DEFAULT_EF, TrainQueryIndex
from shared.contracts.base import Contract
from shared.dataset import read_queries, write_rows
from shared.disk import flush
from shared.errors import Conflict, Damaged, NotFound

MANIFEST = "manifest.json"
BUILD_COMMAND = "skim mapping build"


class FileEntry(Contract):
    """A file of the index, as it was written."""

    name: str
    sha256: str


def _listed(graph: object) -> object:
    """Take the one graph of format 1 as its only segment."""
    return graph if isinstance(graph, list) else [graph]


class IndexManifest(Contract):
    """`manifest.json`; replacing it is what replaces the index."""

    format_version: Literal[1, 2] = 2
    """In format 1 the graph is one segment; it is read still."""
    encoder: str
    dimensions: int
    train_queries: int
    m: int
    ef_construction: int
    ef: int | None = None
    """Neighbours kept while searching, where the build measured that it needs more than is usual."""
    recall_above_tau: float | None = None
    """Share of the neighbours above tau that the graph found when it was built."""
    version: int = 0
    policy: str = ""
    """What mapped when it was written."""
    has_journal: bool = False
    """Whether its journal was written with it, be it empty: then one that is not there was lost."""
    index: Annotated[list[FileEntry], BeforeValidator(_listed), Field(min_length=1)]
    """Segments, in order."""
    queries: FileEntry

    @property
    def files(self) -> list[FileEntry]:
        """Return what is verified before it is loaded."""
        return [*self.index, self.queries]

    @property
    def journal(self) -> str:
        """Return the name of the journal of what changed since: of this index as it was at this version."""
        return f"journal-{self.index[0].sha256[:12]}-{self.version}.bin"

    @property
    def names(self) -> set[str]:
        """Return the names of all files but the manifest itself."""
        return {*(entry.name for entry in self.files), self.journal}


def next_version(after: int) -> int:
    """Return the version of a change now: microseconds since 1970, always above the one before.

    So it grows too where a folder is lost and built anew.
    """
    return max(after + 1, time.time_ns() // 1_000)


def read_manifest(folder: Path) -> IndexManifest:
    """Return the manifest in `folder`; `NotFound` or `Damaged` if there is none to be read."""
    path = folder / MANIFEST
    try:
        return IndexManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{folder}: no train-query index here; run `{BUILD_COMMAND}`") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Damaged(f"{path}: {where}: {first['msg']}") from error


def save_index(
    index: TrainQueryIndex,
    folder: Path,
    *,
    policy: str = "",
    ef: int | None = None,
    recall: float | None = None,
    journal: bytes = b"",
) -> IndexManifest:
    """Write an index that has no changes of its own, and drop the one it replaces.

    Readers see one or the other; killed at any point, the folder holds one of the two.

    Args:
        index: its graph and queries are written.
        folder: made if it is missing.
        policy: what maps by it.
        ef: to search it with.
        recall: that was measured.
        journal: records that go with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replaced = _files_of(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as scratch:
        segments = []
        for segment in index.graph.segments:
            new_segment = Path(scratch) / "index.hnsw"
            segment.save_index(str(new_segment))
            segments.append(move_in(new_segment, folder))
        new_queries = Path(scratch) / "queries.jsonl"
        write_rows(new_queries, index.queries)
        manifest = IndexManifest(
            encoder=index.encoder,
            dimensions=index.dimensions,
            train_queries=len(index),
            m=index.parameters.m,
            ef_construction=index.parameters.ef_construction,
            ef=ef,
            recall_above_tau=recall,
            version=index.version,
            policy=policy,
            has_journal=True,
            index=segments,
            queries=move_in(new_queries, folder),
        )
        new_journal = Path(scratch) / "journal.bin"
        new_journal.write_bytes(journal)
        _move(new_journal, folder / manifest.journal)
        new_manifest = Path(scratch) / MANIFEST
        new_manifest.write_text(manifest.model_dump_json(indent=2) + "\n")
        _move(new_manifest, folder / MANIFEST)
        flush(folder)
    for name in replaced - manifest.names:
        (folder / name).unlink(missing_ok=True)
    return manifest


def load_index(
    folder: Path, *, encoder: str, dimensions: int, ef: int | None = None
) -> TrainQueryIndex:
    """Verify the files in `folder`, then load them; its journal is not read.

    Args:
        folder: where `save_index` wrote.
        encoder: name of the encoder that will make the vectors searched with.
        dimensions: their length.
        ef: neighbours kept while searching; the manifest's is taken if it is larger.

    Raises:
        NotFound: there is no index.
        Damaged: a file is missing or is not what the manifest says.
        Conflict: the index was built with another encoder.
    """
    manifest = read_manifest(folder)
    if (manifest.encoder, manifest.dimensions) != (encoder, dimensions):
        raise Conflict(
            f"{folder}: built with {manifest.encoder} ({manifest.dimensions} dimensions), but "
            f"the encoder is {encoder} ({dimensions}); run `{BUILD_COMMAND}` again"
        )
    for entry in manifest.files:
        verify(folder, entry)
    queries = QueryList.of(train_only(read_queries(folder / manifest.queries.name)))
    graph = SegmentedGraph.load([folder / entry.name for entry in manifest.index], dimensions)
    if not len(queries) == manifest.train_queries == len(graph):
        raise Damaged(
            f"{folder}: the manifest says {manifest.train_queries} train queries, the list has "
            f"{len(queries)}, the graph {len(graph)}"
        )
    return TrainQueryIndex(
        graph,
        queries,
        encoder=encoder,
        parameters=HnswParameters(manifest.m, manifest.ef_construction),
        ef=max(ef or 0, manifest.ef or 0) or DEFAULT_EF,
        version=manifest.version,
    )


def move_in(file: Path, folder: Path) -> FileEntry:
    """Move a finished file into `folder`, under a name that its content decides."""
    sha256 = _sha256_of(file)
    entry = FileEntry(name=f"{file.stem}-{sha256[:12]}{file.suffix}", sha256=sha256)
    _move(file, folder / entry.name)
    return entry


def verify(folder: Path, entry: FileEntry) -> None:
    """Raise `Damaged` unless the file is there and has its sha256."""
    path = folder / entry.name
    if path.parent != folder or not path.is_file():
        raise Damaged(f"{path}: missing, though {MANIFEST} names it")
    sha256 = _sha256_of(path)
    if sha256 != entry.sha256:
        raise Damaged(f"{path}: sha256 is {sha256}, {MANIFEST} says {entry.sha256}")


def _files_of(folder: Path) -> set[str]:
    """Return the files of the index that is in `folder`; none if there is none or it is damaged."""
    try:
        return read_manifest(folder).names
    except (NotFound, Damaged):
        return set()


def _move(file: Path, target: Path) -> None:
    """Move a file whose content is on the disk first: after a power cut its name leads to all of it, or to nothing."""
    flush(file)
    file.replace(target)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
