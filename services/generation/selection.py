"""Which of the lines that the SLM wrote for a document become its synthetic queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.plain_text import signature


@dataclass(frozen=True)
class ScoredLine:
    """A clean query as one completion has it.

    Args:
        text: the query.
        mean_log_probability: of the tokens of its line, as the SLM gave them; nan unless asked for.
    """

    text: str
    mean_log_probability: float


@dataclass(frozen=True)
class Selection:
    """How queries are chosen.

    Args:
        max_queries: most queries kept for one document.
    """

    max_queries: int = 16

    @property
    def needs_log_probabilities(self) -> bool:
        """Tell whether lines must be scored; a score costs a pass over the vocabulary at each token."""
        return False


def select_queries(completions: Sequence[Sequence[ScoredLine]], selection: Selection) -> list[str]:
    """Return the distinct queries of a document's completions, in the order written."""
    distinct: dict[tuple[str, ...], str] = {}
    for lines in completions:
        for line in lines:
            distinct.setdefault(signature(line.text), line.text)
    return list(distinct.values())[: selection.max_queries]
