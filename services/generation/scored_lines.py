"""The clean queries of one completion, and how likely the SLM found each line that it wrote."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from services.generation.requests import Completion
from services.generation.selection import ScoredLine
from services.generation.stop_strings import Decode, TextStream
from shared.completion import Dropped, malformation_of, read_completion
from shared.contracts.document import Document
from shared.plain_text import signature


def read_lines(
    completion: Completion,
    document: Document,
    decode: Decode,
    *,
    max_queries: int,
    known: Collection[str] = (),
) -> tuple[list[ScoredLine], Counter[Dropped]]:
    """Return a completion's queries in the order written, and its other lines by reason.

    Args:
        completion: of the document's prompt; without log-probabilities its lines score nan.
        document: it was written for.
        decode: turns ids into text.
        max_queries: how many to keep.
        known: queries that need not be written again.
    """
    read = read_completion(
        decode(completion.ids),
        document,
        is_finished=completion.is_finished,
        max_queries=max_queries,
        known=known,
    )
    if completion.log_probabilities:
        all_scores = line_scores(completion.ids, completion.log_probabilities, decode)
        scores = [all_scores[place] for place in read.places]
    else:
        scores = [math.nan] * len(read.queries)
    return [ScoredLine(*each) for each in zip(read.queries, scores, strict=True)], read.dropped


def clean_queries(
    found: Mapping[str, Sequence[float]], document: Document, *, known: Collection[str] = ()
) -> dict[str, Sequence[float]]:
    """Return the found queries that a line of a completion may be: no title's copy, none that was known.

    Args:
        found: query -> log-probabilities.
        document: they were found for.
        known: queries that need not be written again.
    """
    others = {signature(text) for text in (document.title, *known)}
    return {
        text: scores
        for text, scores in found.items()
        if signature(text) not in others and malformation_of(text) is None
    }


def line_scores(
    ids: Sequence[int], log_probabilities: Sequence[float], decode: Decode
) -> list[float]:
    """Return the log-probability of each line of `decode(ids).splitlines()`.

    A token counts for every line that it has a character of, so a token that only ends lines counts for
    none; a line without characters is nan. Tokens that share a character count as one text.

    Args:
        ids: of a completion.
        log_probabilities: one a token.
        decode: turns ids into text.
    """
    text = decode(ids)
    starts, ends = _spans(ids, decode, len(text))
    scores, at = [], 0
    for line in text.splitlines(keepends=True):
        length = len(line.splitlines()[0])
        first, last = bisect_right(ends, at), bisect_left(starts, at + length)
        scores.append(math.fsum(log_probabilities[first:last]) if length else math.nan)
        at += len(line)
    return scores


def _spans(ids: Sequence[int], decode: Decode, length: int) -> tuple[list[int], list[int]]:
    """Return where each token's text starts and ends; tokens of one character have its whole text."""
    stream = TextStream(decode)
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for token in ids:
        starts.append(at)
        at += len(stream.feed(token))
        if at > starts[-1]:
            ends += [at] * (len(starts) - len(ends))
    ends += [length] * (len(starts) - len(ends))  # a character that was never finished
    return starts, ends
