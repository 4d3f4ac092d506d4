"""The teacher's rules that can be checked by machine: an answer holds nothing its document does not say.

Nobody can prove that a text was written by reading alone. What can be shown is that an answer has the
form asked for, no number or name from elsewhere, and no trace of WordNet's own vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from shared.completion import read_completion
from shared.contracts.document import Document
from shared.plain_text import signature, words_of

FEWEST_QUERIES = 4
MOST_QUERIES = 12
MOST_WORDS = 8
_NUMBER = re.compile(r"\d+")
_SMALL_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_SMALL_NUMBERS)} | {
    word: str(10 * number) for number, word in enumerate(_TENS, start=2)
}
_CAPITALISED = re.compile(r"\b[A-Z][a-z]{2,}\b")
_SMALL = re.compile(r"\b[a-z]+\b")
_WORDNET_KEY = re.compile(r"%\d:\d\d|~25\d|\b\w+\.n\.\d\d\b|\b[a-z]+_[a-z]+\b|\b\d{8}\b")
"""Sense keys (oboe%1:06:00::, also escaped), synset names (oboe.n.01), offsets, underscored lemmas."""
_WORDNET_SPEECH = frozenset(
    {
        *("artefact", "artifact", "instrumentality", "entity", "abstraction"),
        *("whole", "unit", "causal agent", "causal agency", "physical entity", "physical object"),
        *("abstract entity", "psychological feature", "matter", "grouping", "synset", "hypernym"),
        *("hyponym", "meronym", "holonym", "lemma", "gloss"),
    }
)
"""Queries that nobody types, but that stand above every thing in WordNet."""


def names_of(documents: Iterable[Document]) -> frozenset[str]:
    """Return the names in documents' metadata: brands, places, people, that no document writes small.

    Nobody knows these but a reader of their document; that enchiladas are Mexican, everybody knows.
    """
    names: set[str] = set()
    common: set[str] = set()
    for document in documents:
        values = (value for value in document.metadata.values() if isinstance(value, str))
        names.update(name.casefold() for value in values for name in _CAPITALISED.findall(value))
        common.update(_SMALL.findall(document.described()))
    return frozenset(names - common)


def broken_rules(
    document: Document, queries: Sequence[str], names: AbstractSet[str] = frozenset()
) -> list[str]:
    """Say which rules an answer breaks and where; nothing if it keeps them all.

    Args:
        document: what the teacher read.
        queries: what it wrote.
        names: words that are names (`names_of` all documents).
    """
    broken = []
    if not FEWEST_QUERIES <= len(queries) <= MOST_QUERIES:
        broken.append(
            f"{len(queries)} queries, expected {FEWEST_QUERIES} to {MOST_QUERIES}: {queries}"
        )
    dropped = read_completion("\n".join(queries), document, max_queries=len(queries)).dropped
    broken += [f"{reason}: {queries}" for reason in dropped]
    described = document.described() + " " + " ".join(document.metadata)
    said = set(words_of(described))
    numbers = set(_NUMBER.findall(" ".join(said)))
    numbers |= {number for word, number in _NUMBER_WORDS.items() if word in said}
    for query in queries:
        words = words_of(query)
        faults = {
            "not lower case": query != query.lower(),
            f"over {MOST_WORDS} words": len(query.split()) > MOST_WORDS,
            "the title and a word": _is_title_and_a_word(query, document.title),
            "a number from elsewhere": set(_NUMBER.findall(query)) - numbers,
            "a name from elsewhere": set(words) & names - said - set(signature(described)),
            "WordNet's keys": _WORDNET_KEY.search(query),
            "WordNet's words": query in _WORDNET_SPEECH and not set(words) <= said,
        }
        broken += [f"{fault}: {query!r}" for fault, is_so in faults.items() if is_so]
    return broken


def _is_title_and_a_word(query: str, title: str) -> bool:
    written, titled = Counter(signature(query)), Counter(signature(title))
    return not titled - written and (written - titled).total() == 1
