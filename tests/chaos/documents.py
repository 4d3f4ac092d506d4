"""The documents of a row, the train queries they reach, and what makes a document poison."""

from __future__ import annotations

from shared.contracts.document import Document

KILL, STOP, HANG, FLOOD, CRASH = (
    "poison kill",  # the worker's process is killed over it
    "poison stop",  # the worker's process hangs over it
    "poison hang",  # the generation service never answers
    "poison flood",  # its answer never ends
    "poison crash",  # the generation service dies over it
)
WORDS = [
    "reed",
    "wind",
    "brass",
    "string",
    "key",
    "drum",
    "bell",
    "wood",
    "metal",
    "glass",
    "sharp",
    "soft",
    "long",
    "short",
    "old",
    "new",
]


def document_of(number: int) -> Document:
    """Return a document that reaches a few train queries."""
    one, other, third = (WORDS[number // step % len(WORDS)] for step in (1, 3, 16))
    return Document(
        id=f"d{number:05}", title=f"thing {number}", text=f"{one} {other}, {third} {one}, {other}"
    )


def poison_of(kind: str, number: int = 0) -> Document:
    """Return a document of a kind above."""
    return Document(id=f"{kind.replace(' ', '-')}-{number}", title=kind, text="reed wind")


def train_queries() -> dict[str, str]:
    """Return id -> text."""
    return {f"q-{a}-{b}": f"{a} {b}" for a in WORDS for b in WORDS[::5]} | {
        f"q-{each}": each for each in WORDS
    }
