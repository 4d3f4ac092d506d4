"""Which of the lines that the SLM wrote for a document become its synthetic queries."""

from __future__ import annotations

import math
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
        max_queries: most queries kept for one document, the likeliest if they are scored.
        min_log_probability: of a query's whole line in the sample that finds it likeliest; what the SLM
            wrote without believing in it is dropped. None keeps all.
    """

    max_queries: int = 16
    min_log_probability: float | None = None

    @property
    def needs_log_probabilities(self) -> bool:
        """Tell whether lines must be scored; a score costs a pass over the vocabulary at each token."""
        return self.min_log_probability is not None


def select_queries(completions: Sequence[Sequence[ScoredLine]], selection: Selection) -> list[str]:
    """Return the distinct queries of a document's completions, in the order written."""
    texts: dict[tuple[str, ...], str] = {}
    scores: dict[tuple[str, ...], float] = {}
    for lines in completions:
        for line in lines:
            key = signature(line.text)
            texts.setdefault(key, line.text)
            scores[key] = max(scores.get(key, -math.inf), line.log_probability)
    if selection.min_log_probability is None:
        return list(texts.values())[: selection.max_queries]
    likely = [key for key in texts if scores[key] >= selection.min_log_probability]
    kept = set(sorted(likely, key=lambda key: -scores[key])[: selection.max_queries])
    return [texts[key] for key in texts if key in kept]
