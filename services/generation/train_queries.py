"""The train queries that the SLM is searched for: of a file, or of the mapping service's index."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from shared.dataset import read_queries
from shared.errors import Damaged, InvalidInput, NotFound

_MANIFEST = "manifest.json"


class _Entry(BaseModel):
    name: str


class _Manifest(BaseModel):
    """What is read of an index's manifest (services/mapping/index_files.py)."""

    queries: _Entry


def read_texts(path: Path) -> list[str]:
    """Return the texts of the train queries.

    Args:
        path: a file, {id, text} a line, of which those of other splits are passed over; or the folder of an
            index, whose queries are those that it was last written with.

    Raises:
        InvalidInput: there is none, or a line is no query.
        NotFound: there is no such file.
        Damaged: it, or the index's manifest, cannot be read.
    """
    try:
        file = _of_index(path) if path.is_dir() else path
        texts = [query.text for query in read_queries(file) if query.split == "train"]
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror})") from error
    if not texts:
        raise InvalidInput(f"{path}: no train query in it")
    return texts


def _of_index(folder: Path) -> Path:
    try:
        manifest = _Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            f"{folder}: no train-query index here; run `skim mapping build`, then start generation again"
        ) from error
    except ValidationError as error:
        raise Damaged(f"{folder / _MANIFEST}: does not say where its queries are") from error
    return folder / manifest.queries.name
