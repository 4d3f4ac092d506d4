"""How a document becomes a vector before training saw it: its embedding, and what its synthetic queries add to that.

Training begins from the same vectors, so that a new document stands where a trained one stood.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from shared.contracts.base import Contract
from shared.contracts.document import Document
from shared.encoder_files import DESCRIPTION_TOKENS, QUERY_TOKENS

Tower = Literal["title", "metadata"]
"""What a document's embedding is made of: its title, or title, text and metadata."""
_LEAST_LENGTH = 1e-12
_Vectors = NDArray[np.float32]


class ColdStart(Contract):
    """What the encoder reads of a document, the same that training embedded, and what its vector is made of."""

    tower: Tower = "metadata"
    max_tokens: int = Field(default=DESCRIPTION_TOKENS, ge=2)
    queries_share: float = Field(default=0.0, ge=0, le=1)
    """Of the mean synthetic query in the vector of a document that has some."""
    shift: list[FiniteFloat] = Field(default_factory=list)
    """Added to such a vector: by how much training moved those that it began from, on the mean; empty is not at all."""

    def text_of(self, document: Document) -> str:
        """Return the text that is read."""
        return text_of(document, self.tower)


class StartParts(NamedTuple):
    """What start vectors add up from, each (documents, dimensions) float32."""

    embeddings: _Vectors
    queries: _Vectors

    @property
    def start(self) -> _Vectors:
        """Return (documents, dimensions) float32 unit vectors."""
        return self.embeddings + self.queries


def start_parts(embeddings: _Vectors, queries: _Vectors, share: float) -> StartParts:
    """Return the vectors that documents have before anything is learned, as their parts.

    Args:
        embeddings: (documents, dimensions) float32 unit vectors.
        queries: (documents, dimensions) float32 sum of the unit vectors of each one's synthetic queries; a
            document without any has zeros, and keeps its embedding.
        share: of the mean synthetic query.
    """
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    shares = np.where(lengths > 0, np.float32(share), np.float32(0))
    own = (1 - shares) * embeddings
    asked = shares * queries / np.maximum(lengths, _LEAST_LENGTH)
    whole = np.maximum(np.linalg.norm(own + asked, axis=1, keepdims=True), _LEAST_LENGTH)
    return StartParts(
        (own / whole).astype(np.float32, copy=False),
        (asked / whole).astype(np.float32, copy=False),
    )


def cold_start_of(tower: Tower) -> ColdStart:
    """Return how a tower reads documents."""
    return ColdStart(
        tower=tower, max_tokens=QUERY_TOKENS if tower == "title" else DESCRIPTION_TOKENS
    )


def text_of(document: Document, tower: Tower) -> str:
    """Return what a tower reads of a document."""
    return document.title if tower == "title" else document.described()
