"""How a completion, text that nobody vouches for, becomes clean queries; and why its other lines do not."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from shared.contracts.document import Document
from shared.plain_text import one_line, signature, words_of

MAX_WORDS = 12
MAX_CHARACTERS = 100
MAX_WORD_CHARACTERS = 50
_MAX_LINE_CHARACTERS = 4 * MAX_CHARACTERS
"""A longer line is dropped unread, so that a line costs a bounded time whatever it holds."""
_MAX_DIGITS = 6


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
    for line in lines:
        if len(line) > _MAX_LINE_CHARACTERS:
            read.dropped[Dropped.LENGTH] += 1
            continue
        visible = " ".join(one_line(line.translate(_INVISIBLE)).split())
        if not visible:
            continue
        query = _without_marks(visible, _PUNCTUATION)
        reason = _malformation(line, visible, query) or seen.get(signature(query))
        if reason is None and len(read.queries) == max_queries:
            reason = Dropped.SURPLUS
        if reason is not None:
            read.dropped[reason] += 1
            continue
        seen[signature(query)] = Dropped.REPEATED
        read.queries.append(query)
    return read


_INVISIBLE = dict.fromkeys(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),  # joiners and fillers
        *range(0x180B, 0x1810),  # variation selectors, in three blocks
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
_BULLETS = "\u2022\u2023\u25e6\u25aa\u25cf\u25cb\u00b7\u25ba\u27a4\u2713\u2714\u2610"
_MARK = re.compile(
    rf"""
    ^(?:
    [-*+>\u2013\u2014{_BULLETS}]+\s+            # - x
    | [{_BULLETS}\u2460-\u2473]+\s*             # •x, ①x
    | (?:\d{{1,3}}|[(\[]\d{{1,2}})[.):\]]+(?:\s+|(?=[^\W\d_]))  # 1. x, (1) x, 1.x; not 1.5, (030) 1
    | \d{{1,3}}(?:\u20e3\s*|\s+[-\u2013]\s+)    # keycap 1, 1 - x
    | [(\[]?(?:[a-z]|[ivx]{{2,4}})[.)\]]\s+     # a) x, iv. x
    | (?:query|q)\s*\d{{1,3}}\s*[-:.)]\s*       # Query 1: x
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_EMPHASIS = " \"'`*_~\u2018\u2019\u201c\u201d\u00ab\u00bb\u2026" + _BULLETS
_PUNCTUATION = _EMPHASIS + ".,;:-\u2013\u2014"


def _without_marks(text: str, edges: str) -> str:
    """Return a text without list marks and without these characters at its ends, however nested."""
    before = ""
    while text != before:
        before, text = text, _MARK.sub("", text.strip(edges), count=1)
    return text


_HEADING = re.compile(
    r"""
    ^\#{1,6}(?:\s|$)
    | :\W*$
    | ^(?:search\s+)?quer(?:y|ies)$
    | ^(?:system|user|human|assistant|ai|bot|instructions?|prompt|input|output|answer|response|title
        |note|(?:search\s+)?quer(?:y|ies))\s*:
    | ^(?:sure|certainly|of\ course|okay)\b\W*[,!.]
    | ^here(?:'s|\ is|\ are)\b.*\b(?:quer|search|list|keyword)
    | ^(?:below|these|the\ following)\ are\b
    | ^as\ an?\ (?:ai|language\ model|large\ language\ model)\b
    | ^i(?:'m\ sorry|\ am\ sorry|'m\ unable|\ am\ unable|\ cannot|\ can't|\ hope)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SPECIAL_TOKEN = re.compile(
    r"""
    <\s?\|[^|]* | \|\s?>
    | \b(?:im_start|im_end|endoftext|end_of_text|eot_id|start_of_turn|end_of_turn)\b
    | <</?sys>>
    | \[/?(?:inst|cls|sep|pad|unk|mask)\]
    | </?(?:s|unk|pad|bos|eos|think|tool_call)>
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ADDRESS = re.compile(
    r"""
    \w:// | \bwww\. | \b(?:mailto|javascript|data|file|tel):\S
    | @
    | [\[({]\s?(?:\.|dot|at|@)\s?[\])}]         # name [at] host (dot) org
    | \w[.\u3002](?!js\b)[^\W\d_]{2}            # host.org, also without a path
    | \b\d{1,3}(?:\.\d{1,3}){3}\b
    | (?:^|\s)\.{0,2}/\w+                       # a path
    """,
    re.IGNORECASE | re.VERBOSE,
)
_MARKUP = re.compile(
    r"""
    [<>{}\[\]|\\`^=~*_]
    | &(?:\#\w+|[a-z]{2,8}); | %[0-9a-f]{2} | ;(?=.)
    | && | \$\( | -- | /\* | \w\( | "\s*:
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DIGITS_APART = re.compile(r"\d[\W\d_]*")
_YEARS = re.compile(r"(?:1\d|20)\d\d\s?[-\u2013/]\s?(?:1\d|20)\d\d\W*")


def _has_long_number(text: str) -> bool:
    return any(
        sum(c.isdigit() for c in run) > _MAX_DIGITS and not _YEARS.fullmatch(run)
        for run in _DIGITS_APART.findall(text)
    )


def _has_no_words(text: str) -> bool:
    return not any(c.isalpha() for c in text)


def _is_out_of_bounds(text: str) -> bool:
    words = text.split()
    if len(text) > MAX_CHARACTERS or len(words) > MAX_WORDS:
        return True
    if len(text) == 1:  # a word only in scripts without case, such as Chinese
        return unicodedata.category(text) != "Lo"
    return max(map(len, words)) > MAX_WORD_CHARACTERS


def _is_stuffed(text: str) -> bool:
    words = words_of(text)
    return text.count(",") > 2 or 2 * len(set(words)) < len(words)


_RULES: tuple[tuple[Dropped, Callable[[str], object]], ...] = (
    (Dropped.HEADING, _HEADING.search),
    (Dropped.SPECIAL_TOKEN, _SPECIAL_TOKEN.search),
    (Dropped.ADDRESS, _ADDRESS.search),
    (Dropped.NUMBER, _has_long_number),
    (Dropped.NO_WORDS, _has_no_words),
    (Dropped.MARKUP, _MARKUP.search),
    (Dropped.LENGTH, _is_out_of_bounds),
    (Dropped.STUFFED, _is_stuffed),
)


def _malformation(line: str, visible: str, query: str) -> Dropped | None:
    """Return the first reason why a line is malformed; look-alikes of ASCII are read as ASCII."""
    if _is_garbled(line) or _is_garbled(query):
        return Dropped.GARBLED
    texts = {_without_marks(visible, _EMPHASIS), query}
    texts |= {unicodedata.normalize("NFKC", text) for text in texts}
    return next((reason for reason, is_so in _RULES if any(map(is_so, texts))), None)


def _is_garbled(text: str) -> bool:
    if text.isascii():
        return False
    marks = "".join("^" if unicodedata.combining(c) else " " for c in text)
    return "\ufffd" in text or "^^^" in marks or any(map(_is_misread, text.split(" ")))


def _is_misread(word: str) -> bool:
    """Say whether a word is UTF-8 that was read as Latin-1 or Windows-1252."""
    if word.isascii():
        return False
    for encoding in ("latin-1", "cp1252"):
        try:
            word.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False
