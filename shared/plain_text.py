"""Text that nobody vouches for, made plain: one visible line, its words, and what near-duplicates share."""

from __future__ import annotations

import re
import unicodedata

_SPACES = re.compile(r"\s+")
_LINE_BREAK = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_WITHOUT_FINAL_E = ("che", "she", "sse", "xe", "zze")


def one_line(text: str) -> str:
    """Put a space for line ends and tabs, and drop other control, format and private characters.

    Ordinary spaces stay as they are, also several in a row.
    """
    if text.isprintable():
        return text
    visible = "".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return _SPACES.sub(lambda run: " " if _LINE_BREAK.search(run[0]) else run[0], visible)


def query_key(text: str) -> str:
    """Return what the same query has in common however it is typed: no case, plain spaces, NFKC."""
    return " ".join(unicodedata.normalize("NFKC", one_line(text)).lower().split())


def words_of(text: str) -> list[str]:
    """Return a text's words, folded (NFKC, no case); vowel signs belong to their word."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return "".join(kept).split()


def signature(text: str) -> tuple[str, ...]:
    """Return what near-duplicates share: their words in the singular, in no order.

    English plurals only; in other languages copies and other orders are near-duplicates.
    """
    return tuple(sorted(_singular(word) for word in words_of(text)))


def _singular(word: str) -> str:
    """Fold English plurals and their singulars to one form, not always a word (movie: movy)."""
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ie"):
        return word[:-2] + "y"
    if word.endswith(("oe", *_WITHOUT_FINAL_E)):
        return word[:-1]
    return word
