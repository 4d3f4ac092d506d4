"""The student's prompt, the same at fine-tuning and serving.

The prompt has the document's fields only, no instructions and no examples (paper section 4: short
prompts are what makes a small model scale); the completion is one query a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import orjson
from tokenizers import Tokenizer

from shared.contracts.document import Document
from shared.plain_text import one_line

CHARACTERS_A_TOKEN = 8
"""Text is read up to this many characters for each token it may have (English: 4-5), so that a huge
document costs no more than a long one."""
_HEADING = re.compile(r"^(\s*queries)[\s:]*:", re.IGNORECASE)


class PromptTokenizer:
    """Turns documents into prompt ids and ids into text.

    A document is untrusted. Title, text and each field of metadata are one line each, none of them can
    be the line that ends a prompt, and what looks like a chat or special token stays a string of
    characters. Single-line text without control characters is encoded as it is.

    Args:
        tokenizer_json: the model's `tokenizer.json`.
        end_token: ends a completion (and pads): what the model learned, whatever its base's tokenizer calls the end.
        max_metadata_tokens: text and metadata past this many tokens are cut (paper: 750).
        max_title_tokens: a title past this many tokens is cut.
    """

    def __init__(
        self,
        tokenizer_json: Path,
        *,
        end_token: str,
        max_metadata_tokens: int = 750,
        max_title_tokens: int = 128,
    ) -> None:
        self._tokenizer = _tokenizer_for_untrusted_text(tokenizer_json)
        end_id = self._tokenizer.token_to_id(end_token)
        if end_id is None:
            raise ValueError(f"{tokenizer_json}: no token {end_token!r}")
        self.end_id: int = end_id
        self._max_metadata_tokens = max_metadata_tokens
        self._max_title_tokens = max_title_tokens
        self._line_end = self._encode("\n")
        self._tail = self._encode("\nQueries:\n")

    def encode_prompt(self, document: Document) -> list[int]:
        """Return the ids of a document's prompt."""
        title = self._encode(title_line(document, self._max_title_tokens * CHARACTERS_A_TOKEN))
        if len(title) > self._max_title_tokens:
            title = [*title[: self._max_title_tokens], *self._line_end]
        metadata = self._encode(
            metadata_lines(document, self._max_metadata_tokens * CHARACTERS_A_TOKEN)
        )
        return [*title, *metadata[: self._max_metadata_tokens], *self._tail]

    def encode_completion(self, queries: Sequence[str]) -> list[int]:
        """Return the ids that the student should answer with, its end token included."""
        return [*self._encode("\n".join(queries)), self.end_id]

    @property
    def line_ends(self) -> frozenset[int]:
        """Return the ids that end a query's line: the line end's and the end token."""
        return frozenset((*self._line_end, self.end_id))

    def encode_lines(self, queries: Sequence[str]) -> list[list[int]]:
        """Return the ids of each query behind the end of another line, as the student writes it."""
        before = len(self._line_end)
        encodings = self._tokenizer.encode_batch(
            [f"\n{one_line(query)}" for query in queries], add_special_tokens=False
        )
        return [encoding.ids[before:] for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class TitleOnlyPrompts(PromptTokenizer):
    """Shows the student a document's title and hides the rest."""

    def encode_prompt(self, document: Document) -> list[int]:
        """Return the ids of the prompt without text and metadata."""
        return super().encode_prompt(document.title_only())


def title_line(document: Document, max_characters: int) -> str:
    """Return the first line of a prompt; of a longer title no more than so many characters."""
    return f"Title: {' '.join(one_line(document.title).split())[:max_characters]}\n"


def metadata_lines(document: Document, max_characters: int) -> str:
    """Return a document's text and fields, a line each, in at most so many characters."""
    lines = [_own_line(document.text.strip()[:max_characters]).strip()]
    room = max_characters - len(lines[0])
    for name, value in document.metadata.items():
        if room <= 0:
            break
        text = ", ".join(value) if isinstance(value, list) else str(value)
        lines.append(_own_line(f"{name}: {text[:max_characters]}"))
        room -= len(lines[-1]) + 1
    return "\n".join(lines)[:max_characters]


def _own_line(text: str) -> str:
    """Return the text as a line that does not begin like the one that ends a prompt."""
    return _HEADING.sub(r"\1", one_line(text))


def _tokenizer_for_untrusted_text(tokenizer_json: Path) -> Tokenizer:
    """Load a tokenizer that encodes the spelling of its special tokens as plain text.

    Models also have tokens that they call added and not special (`<tool_call>`): here they are special.
    Added runs of spaces stay what they are, for they are how such a model reads text.
    """
    content = orjson.loads(tokenizer_json.read_bytes())
    for token in content["added_tokens"]:
        token["special"] = token["special"] or bool(token["content"].strip())
    tokenizer = Tokenizer.from_str(orjson.dumps(content).decode())
    tokenizer.encode_special_tokens = True
    return tokenizer
