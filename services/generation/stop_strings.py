"""Stop strings, found in text that is decoded token by token and never twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

_UNFINISHED = "\ufffd"  # what a part of a character decodes to


class TextStream:
    """Turns tokens into text as they come.

    A token may hold a part of a character, so text is held back until it is whole; only the tokens since
    the last piece, and those of the piece itself (spaces depend on what is before), are decoded again.

    Args:
        decode: turns token ids into text.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._known = 0  # tokens whose text was given out
        self._known_text = ""

    def feed(self, token: int) -> str:
        """Take the next token; return the text that it completes, often nothing."""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith(_UNFINISHED):
            return ""
        piece = text[len(self._known_text) :]
        del self._ids[: self._known]
        self._known = len(self._ids)
        self._known_text = self._decode(self._ids)
        return piece


class StopStrings:
    """Watches one completion for the first of several strings.

    Args:
        strings: none of them empty.
        decode: turns token ids into text.
    """

    def __init__(self, strings: Sequence[str], decode: Decode) -> None:
        self._strings = strings
        self._longest = max(map(len, strings))
        self._stream = TextStream(decode)
        self.text = ""
        """What was written, before the string that was found."""

    def feed(self, token: int) -> bool:
        """Take the next token; tell whether a stop string is complete now."""
        start = max(0, len(self.text) - self._longest + 1)
        self.text += self._stream.feed(token)
        places = [at for string in self._strings if (at := self.text.find(string, start)) >= 0]
        if places:
            self.text = self.text[: min(places)]
        return bool(places)
