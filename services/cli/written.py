"""Where the synthetic queries of a data folder are: in it, or shipped with the suite."""

from __future__ import annotations

from pathlib import Path

from services.cli.console import err
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED
from shared.dataset import read_documents

WRITTEN = "synthetic_queries.jsonl"
"""The file of synthetic queries in a data folder, or beside the shipped SLM, packed or not."""
WRITTEN_WITHOUT_METADATA = "synthetic_queries_without_metadata.jsonl"
"""The same, written from titles alone."""


def find_written(folder: Path, name: str) -> Path | None:
    """Return the folder's synthetic queries, or the shipped ones if they are of all its documents."""
    own, shipped = _packed_or_not(folder / name), _packed_or_not(SHIPPED / name)
    if own is not None or shipped is None:
        return own
    written = {row.document_id for row in read_synthetic_queries(shipped)}
    if written >= {document.id for document in read_documents(folder / "documents.jsonl")}:
        err.print(f"Synthetic queries: those of {shipped}", highlight=False, markup=False)
        return shipped
    return None


def _packed_or_not(path: Path) -> Path | None:
    named = (path.with_name(path.name + packed) for packed in ("", ".gz", ".xz"))
    return next((each for each in named if each.exists()), None)
