"""How a document that no training saw becomes a vector: as its embedding, by the encoder of the bundle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract
from shared.contracts.document import Document
from shared.encoder_files import DESCRIPTION_TOKENS, QUERY_TOKENS

Tower = Literal["title", "metadata"]
"""What a document's embedding is made of: its title, or title, text and metadata."""


class ColdStart(Contract):
    """What the encoder reads of a document: the same that training embedded."""

    tower: Tower = "metadata"
    max_tokens: int = Field(default=DESCRIPTION_TOKENS, ge=2)

    def text_of(self, document: Document) -> str:
        """Return the text that is read."""
        return text_of(document, self.tower)


def cold_start_of(tower: Tower) -> ColdStart:
    """Return how a tower reads documents."""
    return ColdStart(
        tower=tower, max_tokens=QUERY_TOKENS if tower == "title" else DESCRIPTION_TOKENS
    )


def text_of(document: Document, tower: Tower) -> str:
    """Return what a tower reads of a document."""
    return document.title if tower == "title" else document.described()
