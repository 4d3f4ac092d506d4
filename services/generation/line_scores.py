"""How likely the SLM found each line that it wrote."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import fmean

from services.generation.stop_strings import Decode, TextStream


def line_scores(
    ids: Sequence[int], log_probabilities: Sequence[float], decode: Decode
) -> list[float]:
    """Return the mean token log-probability of each line of `decode(ids).splitlines()`.

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
        scores.append(fmean(log_probabilities[first:last]) if length else math.nan)
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
