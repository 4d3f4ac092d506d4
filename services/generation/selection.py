"""What the completions of a document hold together: its distinct queries, and how sure the SLM was of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.contracts.synthetic_queries import Evidence, WrittenQueries
from shared.plain_text import signature

_DIGITS = 2
"""Of a log-probability (nats): finer than two machines agree; a third one is a tenth of what is shipped."""
_PLACES = 3
"""Of an expected number."""


@dataclass(frozen=True)
class ScoredLine:
    """A clean query as one completion has it.

    Args:
        text: the query.
        log_probability: of its line's tokens, as the SLM gave them; nan if it is not known.
    """

    text: str
    log_probability: float


def select_queries(
    completions: Sequence[Sequence[ScoredLine]],
    max_queries: int = 16,
    found: Sequence[Mapping[str, Sequence[float]]] | None = None,
) -> WrittenQueries:
    """Return the distinct queries of a document's completions: what all have, then what is expected most, of most samples, the likeliest.

    None is judged here: as extra queries of training even the unlikely ones help, and which of them lead
    to labels is for the mapping to say (services/mapping/trust.py).

    Args:
        completions: the clean lines of each sample.
        max_queries: how many are kept.
        found: of each sample, the train queries that its lines could have been, with their log-probabilities
            (line_search.py); None if none was searched.
    """
    texts: dict[_Signature, str] = {}
    scores: dict[_Signature, float] = {}
    samples: Counter[_Signature] = Counter()
    for lines in completions:
        keys = [signature(line.text) for line in lines]
        samples.update(set(keys))
        for key, line in zip(keys, lines, strict=True):
            texts.setdefault(key, line.text)
            scores[key] = max(scores.get(key, -math.inf), line.log_probability)
    ranked = []
    for text, chances in _together(found or ()).items():
        key = signature(text)
        best = max(*chances, scores.get(key, -math.inf))
        ranked.append(_Ranked(text, sum(map(math.exp, chances)), samples[key], best))
    known = {signature(each.text) for each in ranked}
    ranked += [
        _Ranked(text, 0.0, samples[key], scores[key])
        for key, text in texts.items()
        if key not in known  # else it is a train query in other words
    ]
    ranked.sort(
        key=lambda each: (each.samples < len(completions), -each.lines, -each.samples, -each.score)
    )
    return WrittenQueries(
        queries=[each.text for each in ranked[:max_queries]],
        evidence=[
            Evidence(
                each.samples / len(completions),
                _known(each.score),
                None if found is None else round(each.lines / len(completions), _PLACES),
            )
            for each in ranked[:max_queries]
        ],
    )


_Signature = tuple[str, ...]


@dataclass(frozen=True)
class _Ranked:
    text: str
    lines: float
    """Expected in all samples."""
    samples: int
    score: float


def _together(found: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    chances: dict[str, list[float]] = {}
    for of_sample in found:
        for text, more in of_sample.items():
            chances.setdefault(text, []).extend(more)
    return chances


def _known(score: float) -> float | None:
    return min(round(score, _DIGITS), 0.0) if math.isfinite(score) else None
