"""A document: what the catalogue knows of one thing that can be retrieved."""

from __future__ import annotations

import hashlib
from typing import Annotated

import orjson
from pydantic import AllowInfNan, Field, StringConstraints

from shared.contracts.base import A_NUMBER, Contract, Identifier, NonBlank

MAX_TEXT_CHARACTERS = 100_000
MAX_METADATA_CHARACTERS = 10_000

LongText = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]
MetadataText = Annotated[str, StringConstraints(max_length=MAX_METADATA_CHARACTERS)]
MetadataInteger = Annotated[int, Field(ge=-(2**63), lt=2**63), A_NUMBER]
MetadataNumber = Annotated[float, AllowInfNan(False), A_NUMBER]
MetadataName = Annotated[str, StringConstraints(max_length=100)]
MetadataValue = bool | MetadataInteger | MetadataNumber | MetadataText | list[MetadataText]


class Document(Contract):
    """One document. `title` names it, `text` and `metadata` describe it."""

    id: Identifier
    title: NonBlank
    text: LongText = ""
    metadata: dict[MetadataName, MetadataValue] = Field(default_factory=dict, max_length=100)

    @property
    def content_hash(self) -> str:
        """Return 16 hex digits that change whenever title, text or metadata change."""
        content = orjson.dumps([self.title, self.text, self.metadata], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(content).hexdigest()[:16]

    def title_only(self) -> Document:
        """Return the document without text and metadata."""
        return self.model_copy(update={"text": "", "metadata": {}})

    def described(self) -> str:
        """Return title, text and metadata as one line of prose, for an encoder or a reader."""
        values = [
            ", ".join(value) if isinstance(value, list) else str(value)
            for value in self.metadata.values()
        ]
        return ". ".join(part for part in (self.title, self.text, *values) if part)
