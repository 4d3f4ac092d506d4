"""The teacher's answers: which queries a large model wrote for which document (paper section 4, step 0)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from services.training.distillation.budget import Cost
from shared.contracts.base import Contract, Identifier, NonBlank, QueryText
from shared.contracts.document import Document
from shared.dataset import Dataset, read_dataset, read_rows

HELD_OUT_SHARE = 0.1


class TeacherAnswer(Contract):
    """One line of a teacher file: a document's id and the queries written for it.

    What `skim distill ask` wrote also says who wrote it and what it cost, in the same line, so that
    no crash parts an answer from its cost.
    """

    id: Identifier
    refused: NonBlank | None = None
    """Why there are no queries; such a document is not asked again."""
    queries: list[QueryText]
    model: str | None = None
    cost: Cost | None = None

    @field_validator("queries")
    @classmethod
    def _queries_or_a_reason(cls, queries: list[str], info: ValidationInfo) -> list[str]:
        if bool(queries) == bool(info.data.get("refused")):
            raise ValueError("expected at least one query, or none and why it was refused")
        return queries


class TaughtDocument(Contract):
    """One line of a file of examples: a document and the queries a good teacher writes for it."""

    document: Document
    queries: list[QueryText] = Field(min_length=1)


@dataclass(frozen=True)
class Example:
    """What the student learns from: a document and the teacher's queries."""

    document: Document
    queries: Sequence[str]


def read_for_teacher(folder: Path) -> Dataset:
    """Read a data folder; a query that any of its splits holds out is held out.

    Answers are paid for once and a student is tuned once; both are used with every split.
    """
    dataset = read_dataset(folder)
    names = sorted(path.stem for path in (folder / "splits").glob("*.tsv"))
    held_out = {
        query.id
        for name in names
        for query in read_dataset(folder, split=name).queries
        if query.split != "train"
    }
    queries = [
        query.model_copy(update={"split": "test"}) if query.id in held_out else query
        for query in dataset.queries
    ]
    return Dataset(dataset.documents, queries, dataset.clicks, dataset.truth)


def read_examples(path: Path, documents: Iterable[Document]) -> list[Example]:
    """Join teacher answers with their documents; refused and unknown documents are left out."""
    known = {document.id: document for document in documents}
    return [
        Example(known[answer.id], answer.queries)
        for answer in read_rows(path, TeacherAnswer)
        if answer.queries and answer.id in known
    ]


def read_taught(path: Path) -> list[Example]:
    """Return the examples of a file that holds its documents itself: {document, queries} a line."""
    rows = read_rows(path, TaughtDocument, key=None)
    return [Example(row.document, row.queries) for row in rows]


def hold_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Part examples into (learn, held out); a document stays on its side whatever else is taught."""
    held = [example for example in examples if is_held_out(example.document.id)]
    learn = [example for example in examples if not is_held_out(example.document.id)]
    return learn, held


def is_held_out(document_id: str) -> bool:
    """Tell whether no student may learn from this document: a tenth of all, by a hash of the id."""
    return held_out_fraction(document_id) < HELD_OUT_SHARE


def held_out_fraction(document_id: str) -> float:
    """Return a document's place in [0, 1) for holding out; uniform over ids."""
    return int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:4]) / 2**32
