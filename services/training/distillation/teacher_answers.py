"""How the text of a teacher becomes queries: lines or JSON, with or without a preamble."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from shared.completion import parse_completion
from shared.contracts.document import Document

_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_JSON_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_IS_LISTED = re.compile(r"\s*(?:[-*\u2022\u2013\u00b7]|\(?\d{1,3}[.):])\s+\S")
_PROSE_ENDS = (":", ".", "!")
_FEWEST_BARE_LINES = 2
"""A single line without a list mark is an apology, not a list of queries."""


def parse_answer(
    text: str, document: Document, known: Collection[str] = (), *, is_finished: bool = True
) -> list[str]:
    """Return the distinct clean queries of an answer, in the order written; none if it has none.

    Args:
        text: what the teacher wrote: lines, a list with marks, or JSON.
        document: it was asked about.
        known: queries that the answer should not repeat; those that do are dropped.
        is_finished: False when the teacher ran out of tokens, so that its end may be cut.
    """
    text = _THOUGHTS.sub("", text).strip()
    if text[:9].lower().startswith(("<!doctype", "<html")):
        return []
    lines = _json_lines(text)
    if lines is None:
        lines = _plain_lines(text, is_finished=is_finished)
    return parse_completion("\n".join(lines), document, known=known)


def _json_lines(text: str) -> list[str] | None:
    """Return the strings of a JSON answer, None if it is none; one that was cut gives its whole ones."""
    start = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    if start < 0 or '"' not in text:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:])
    except (ValueError, RecursionError):
        if text[start] != "[":
            return None
        value = [json.loads(string, strict=False) for string in _JSON_STRING.findall(text[start:])]
    return [" ".join(string.split()) for string in _strings(value)]


def _strings(value: Any, depth: int = 3) -> list[str]:  # noqa: ANN401  (anything JSON can hold)
    """Return the strings in lists and in values of objects, in order; keys are no queries."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list) or not depth:
        return []
    return [string for item in value for string in _strings(item, depth - 1)]


def _plain_lines(text: str, *, is_finished: bool) -> list[str]:
    lines = text.splitlines()
    if not is_finished:
        lines = lines[:-1]
    lines = [line.replace("**", "") for line in lines if not line.lstrip().startswith("```")]
    listed = [line for line in lines if _IS_LISTED.match(line)]
    if len(listed) > 1:
        return listed
    bare = [line for line in lines if line.strip() and not line.rstrip().endswith(_PROSE_ENDS)]
    return bare if len(bare) >= _FEWEST_BARE_LINES else listed
