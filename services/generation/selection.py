"""Which of the lines that the SLM wrote for a document become its synthetic queries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.plain_text import signature


@dataclass(frozen=True)
class ScoredLine:
    """A clean query as one completion has it.

    Args:
        text: the query.
        log_probability: of its line's tokens, as the SLM gave them; nan unless asked for.
    """

    text: str
    log_probability: float


@dataclass(frozen=True)
class Selection:
    """How queries are chosen.

    Args:
        max_queries: most queries kept for one document: those of most samples, then the likeliest.
        min_log_probability: of a query's whole line in the sample that finds it likeliest; what the SLM
            wrote without believing in it is dropped. None keeps all.
        min_agreement: share of the document's samples that must have the query, in [0, 1]; with one
            sample any share does.
        min_queries: how many are kept whatever the two bounds say, those of most samples first.
    """

    max_queries: int = 16
    min_log_probability: float | None = None
    min_agreement: float = 0.0
    min_queries: int = 0

    @property
    def needs_log_probabilities(self) -> bool:
        """Tell whether lines must be scored; a score costs a pass over the vocabulary at each token."""
        return self.min_log_probability is not None


def select_queries(completions: Sequence[Sequence[ScoredLine]], selection: Selection) -> list[str]:
    """Return the distinct queries of a document's completions, in the order written."""
    texts: dict[tuple[str, ...], str] = {}
    scores: dict[tuple[str, ...], float] = {}
    samples: Counter[tuple[str, ...]] = Counter()
    for lines in completions:
        keys = [signature(line.text) for line in lines]
        samples.update(set(keys))
        for key, line in zip(keys, lines, strict=True):
            texts.setdefault(key, line.text)
            scores[key] = max(scores.get(key, -math.inf), line.log_probability)
    enough = selection.min_agreement * len(completions)
    least = selection.min_log_probability
    passed = {
        key for key in texts if samples[key] >= enough and (least is None or scores[key] >= least)
    }

    def _rank(key: tuple[str, ...]) -> tuple[bool, int, float]:
        return key not in passed, -samples[key], 0.0 if least is None else -scores[key]

    wanted = min(max(len(passed), selection.min_queries), selection.max_queries)
    kept = set(sorted(texts, key=_rank)[:wanted])
    return [texts[key] for key in texts if key in kept]
