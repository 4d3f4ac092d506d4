"""What the completions of a document hold together: its distinct queries, and how sure the SLM was of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts.synthetic_queries import Evidence, WrittenQueries
from shared.plain_text import signature

_DIGITS = 2
"""Of a log-probability (nats): finer than two machines agree; a third one is a tenth of what is shipped."""


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
    completions: Sequence[Sequence[ScoredLine]], max_queries: int = 16
) -> WrittenQueries:
    """Return the distinct queries of a document's completions: of most samples first, then the likeliest.

    None is judged here: as extra queries of training even the unlikely ones help, and which of them lead
    to labels is for the mapping to say (services/mapping/trust.py).

    Args:
        completions: the clean lines of each sample.
        max_queries: how many are kept.
    """
    texts: dict[tuple[str, ...], str] = {}
    scores: dict[tuple[str, ...], float] = {}
    samples: Counter[tuple[str, ...]] = Counter()
    for lines in completions:
        keys = [signature(line.text) for line in lines]
        samples.update(set(keys))
        for key, line in zip(keys, lines, strict=True):
            texts.setdefault(key, line.text)
            scores[key] = max(scores.get(key, -math.inf), line.log_probability)
    kept = sorted(texts, key=lambda key: (-samples[key], -scores[key]))[:max_queries]
    return WrittenQueries(
        queries=[texts[key] for key in kept],
        evidence=[Evidence(samples[key] / len(completions), _known(scores[key])) for key in kept],
    )


def _known(score: float) -> float | None:
    return min(round(score, _DIGITS), 0.0) if math.isfinite(score) else None
