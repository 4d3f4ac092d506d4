"""Documents of mixed lengths: short things of the catalogue and landing pages of 40-150 words, in random order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson

from shared.contracts.document import Document
from shared.dataset import numbered_lines, read_documents
from shared.errors import InvalidInput

LANDING_PAGES = Path(__file__).resolve().parents[1] / "deploy/models/teacher/pages.jsonl"
"""A line a page: {"document": {...}, "queries": [...]}."""

_Item = TypeVar("_Item")


def mixed_documents(things: Path, pages: Path, count: int) -> list[Document]:
    """Return `count` documents, every second one a page, the same ones in the same order every time.

    Args:
        things: documents.jsonl.
        pages: see `LANDING_PAGES`.
        count: how many.

    Raises:
        NotFound: one of the files is missing.
        InvalidInput: there are too few, or a row is malformed.
    """
    mixed = [
        *_every_nth(list(_read_pages(pages)), count // 2, pages),
        *_every_nth(list(read_documents(things)), count - count // 2, things),
    ]
    random.Random(0).shuffle(mixed)
    return mixed


def spread(count: int, sizes: Sequence[int]) -> list[int]:
    """Return up to `count` places of `sizes`, evenly spread over the sorted values, ascending."""
    by_size = sorted(range(len(sizes)), key=lambda place: sizes[place])
    chosen = np.linspace(0, len(sizes) - 1, min(count, len(sizes))).round().astype(int)
    return sorted(by_size[place] for place in chosen)


def _read_pages(path: Path) -> Iterator[Document]:
    for number, line in numbered_lines(path):
        try:
            yield Document.model_validate(orjson.loads(line)["document"])
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"{path}:{number}: expected a page, found {line[:60]!r}") from error


def _every_nth(items: Sequence[_Item], count: int, path: Path) -> Sequence[_Item]:
    if len(items) < count:
        raise InvalidInput(f"{path}: expected at least {count} documents, found {len(items)}")
    return items[:: max(1, len(items) // max(count, 1))][:count]
