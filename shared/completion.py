"""How a completion, text that nobody vouches for, becomes clean queries; and why its other lines do not."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from shared import line_forms
from shared.contracts.document import Document
from shared.plain_text import signature

MAX_WORDS = 12
MAX_CHARACTERS = 100
MAX_WORD_CHARACTERS = 50
_MAX_LINE_CHARACTERS = 4 * MAX_CHARACTERS
"""A longer line is dropped unread, so that a line costs a bounded time whatever it holds."""


class Dropped(StrEnum):
    """Why a line of a completion is not among its queries."""

    CUT = "cut"
    """The last line, when the student ran out of tokens."""
    GARBLED = "garbled"
    """Bytes that are no text, text of a wrong encoding, or piles of accents."""
    HEADING = "heading"
    """Announces queries, or speaks as a party of a chat."""
    SPECIAL_TOKEN = "special_token"  # noqa: S105  (a reason)
    """Spells a token of a chat format."""
    ADDRESS = "address"
    """A web, mail, network or file address."""
    NUMBER = "number"
    """A phone number or another long one."""
    MARKUP = "markup"
    """HTML, Markdown, JSON or code."""
    NO_WORDS = "no_words"
    """Only digits, punctuation or symbols."""
    LENGTH = "length"
    """Out of bounds in characters, words, or characters of a word."""
    STUFFED = "stuffed"
    """A list of keywords, or the same words again and again."""
    TITLE = "title"
    """A copy of the document's title."""
    KNOWN = "known"
    """A copy of a query that was known before."""
    REPEATED = "repeated"
    """A near-duplicate of a line above."""
    SURPLUS = "surplus"
    """More queries than wanted."""


MALFORMED = frozenset(Dropped) - {
    Dropped.CUT,
    Dropped.TITLE,
    Dropped.KNOWN,
    Dropped.REPEATED,
    Dropped.SURPLUS,
}
"""Reasons that make a line malformed: it could not be a query of any document."""


@dataclass(frozen=True)
class ReadCompletion:
    """What a completion held: its queries in the order written, and its other lines by reason."""

    queries: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Which of the completion's lines each query was, from 0 on."""
    dropped: Counter[Dropped] = field(default_factory=Counter)

    @property
    def lines(self) -> int:
        """Return how many lines were not blank."""
        return len(self.queries) + self.dropped.total()

    @property
    def malformed_lines(self) -> int:
        """Return how many lines were malformed."""
        return sum(self.dropped[reason] for reason in MALFORMED)


def parse_completion(
    completion: str,
    document: Document,
    *,
    is_finished: bool = True,
    max_queries: int = 16,
    known: Collection[str] = (),
) -> list[str]:
    """Return the distinct clean queries of a completion, in the order written (`read_completion`)."""
    return read_completion(
        completion, document, is_finished=is_finished, max_queries=max_queries, known=known
    ).queries


def read_completion(
    completion: str,
    document: Document,
    *,
    is_finished: bool = True,
    max_queries: int = 16,
    known: Collection[str] = (),
) -> ReadCompletion:
    """Part the lines of a completion into distinct clean queries and those dropped (`Dropped`).

    Numbering, bullets, quotes, emphasis and invisible characters are taken off a line; blank lines do
    not count. Takes time linear in the completion's length.

    Args:
        completion: what the student wrote.
        document: it was written for.
        is_finished: False when the student ran out of tokens, so that its last line may be cut.
        max_queries: how many to keep.
        known: queries of the document that need not be written again.
    """
    read = ReadCompletion()
    seen = {signature(query): Dropped.KNOWN for query in known}
    seen[signature(document.title)] = Dropped.TITLE
    lines = completion.splitlines()
    if lines and not is_finished and not completion.endswith("\n") and lines.pop().strip():
        read.dropped[Dropped.CUT] += 1
    for place, line in enumerate(lines):
        if len(line) > _MAX_LINE_CHARACTERS:
            read.dropped[Dropped.LENGTH] += 1
            continue
        visible = line_forms.visible_text(line)
        if not visible:
            continue
        query = line_forms.without_marks(visible, line_forms.PUNCTUATION)
        reason = _malformation(line, visible, query) or seen.get(signature(query))
        if reason is None and len(read.queries) == max_queries:
            reason = Dropped.SURPLUS
        if reason is not None:
            read.dropped[reason] += 1
            continue
        seen[signature(query)] = Dropped.REPEATED
        read.queries.append(query)
        read.places.append(place)
    return read


def malformation_of(line: str) -> Dropped | None:
    """Return why a line could be no document's query; None if it could."""
    if len(line) > _MAX_LINE_CHARACTERS:
        return Dropped.LENGTH
    visible = line_forms.visible_text(line)
    query = line_forms.without_marks(visible, line_forms.PUNCTUATION)
    return _malformation(line, visible, query) if query else Dropped.NO_WORDS


def _is_out_of_bounds(text: str) -> bool:
    words = text.split()
    if len(text) > MAX_CHARACTERS or len(words) > MAX_WORDS:
        return True
    if len(text) == 1:  # a word only in scripts without case, such as Chinese
        return unicodedata.category(text) != "Lo"
    return max(map(len, words)) > MAX_WORD_CHARACTERS


_RULES: tuple[tuple[Dropped, Callable[[str], object]], ...] = (
    (Dropped.HEADING, line_forms.HEADING.search),
    (Dropped.SPECIAL_TOKEN, line_forms.SPECIAL_TOKEN.search),
    (Dropped.ADDRESS, line_forms.ADDRESS.search),
    (Dropped.NUMBER, line_forms.has_long_number),
    (Dropped.NO_WORDS, line_forms.has_no_words),
    (Dropped.MARKUP, line_forms.MARKUP.search),
    (Dropped.LENGTH, _is_out_of_bounds),
    (Dropped.STUFFED, line_forms.is_stuffed),
)


def _malformation(line: str, visible: str, query: str) -> Dropped | None:
    """Return the first reason why a line is malformed; look-alikes of ASCII are read as ASCII."""
    if line_forms.is_garbled(line) or line_forms.is_garbled(query):
        return Dropped.GARBLED
    if visible.startswith(line_forms.FENCES):
        return Dropped.MARKUP
    texts = {line_forms.without_marks(visible, line_forms.EMPHASIS), query}
    texts |= {unicodedata.normalize("NFKC", text) for text in texts}
    return next((reason for reason, is_so in _RULES if any(map(is_so, texts))), None)
