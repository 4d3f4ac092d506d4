"""The baseline without a language model: key phrases of a document's text (YAKE, Campos et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from yake import KeywordExtractor

from services.training.distillation.quality import Written
from shared.completion import read_completion
from shared.contracts.document import Document

GENERATOR = f"yake-{version('yake')}"
MAX_WORDS = 3
MAX_PHRASES = 16


def key_phrases(documents: Sequence[Document]) -> list[Written]:
    """Return the best key phrases of each document, cleaned as a completion is.

    Title, text and metadata are read; phrases have up to three words; none is dropped for being like
    another, so that a head noun stays beside its longer phrases.
    """
    extractor = KeywordExtractor(lan="en", n=MAX_WORDS, dedupLim=1.0, top=MAX_PHRASES)
    rows = []
    for document in documents:
        phrases = [
            phrase.lower() for phrase, _ in extractor.extract_keywords(document.described())
        ]
        read = read_completion("\n".join(phrases), document, max_queries=MAX_PHRASES)
        dropped = {reason.value: count for reason, count in read.dropped.items()}
        rows.append(Written(document_id=document.id, queries=read.queries, dropped=dropped))
    return rows
