"""Which train queries the SLM could have written as a line, with their probabilities: a search in a completion's own row.

A completion is one draw. What else was likely at each line's start is known there, and here it is followed,
depth first through a trie of the train queries, from the last line's start to the first, in the row that
wrote the completion: a node costs one token behind those that its line shares with the completion, and
nothing is copied.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.generation.query_trie import Node, QueryTrie
from services.generation.sampling import Candidates, Likely, likely_tokens


@dataclass(frozen=True)
class SearchPlan:
    """What is searched for, and how far.

    Args:
        trie: the train queries.
        line_ends: tokens that end a line, those that end a completion included.
        min_log_probability: a line less likely than this is not found, its beginning not followed (natural,
            temperature 1); below 0.
        max_visits: tokens that the search of one completion may cost; then its first lines go without.
    """

    trie: QueryTrie
    line_ends: frozenset[int]
    min_log_probability: float
    max_visits: int = 512


@dataclass(frozen=True)
class Visit:
    """A token to append behind `held` ones, the node it leads to, and the log-probability of its line so far."""

    held: int
    token: int
    node: Node
    log_probability: float


class LineSearch:
    """The search of one completion.

    Args:
        plan: what for.
        capacity: tokens its row may hold.
    """

    def __init__(self, plan: SearchPlan, capacity: int) -> None:
        self._plan = plan
        self._capacity = capacity
        self._line_ends = np.array(sorted(plan.line_ends))
        self._visits_left = plan.max_visits
        self._open: list[Visit] = []
        self._found: dict[str, list[float]] = defaultdict(list)

    @property
    def found(self) -> Mapping[str, list[float]]:
        """Return each query with its line's log-probability at every start where it is likely enough."""
        return self._found

    def begins_line(self, before: int | None) -> bool:
        """Tell whether what comes behind this token of the completion begins a line; None is none."""
        return before is None or before in self._plan.line_ends

    def read(self, candidates: Candidates, row: int, visit: Visit | None) -> Likely:
        """Return what is of interest behind a visit, or at a line's start: what may be followed, and what ends a line."""
        least = self._plan.min_log_probability - (visit.log_probability if visit else 0.0)
        return likely_tokens(candidates, row, least, self._line_ends)

    def start_line(self, held: int, likely: Likely) -> None:
        """Take what may begin a line behind `held` tokens; to be called in the order of the lines."""
        self._follow(held, self._plan.trie.root, 0.0, likely)

    def next(self) -> Visit | None:
        """Return what to append now, None when all is found.

        The row still holds what is before it: of two visits the one that is deeper comes first.
        """
        if not self._open or not self._visits_left:
            return None
        self._visits_left -= 1
        return self._open.pop()

    def take(self, visit: Visit, likely: Likely) -> None:
        """Take what may come behind a visit's token."""
        text = self._plan.trie.text_at(visit.node)
        if text is not None:
            ends = likely.log_probabilities[np.isin(likely.tokens, self._line_ends)]
            line = visit.log_probability + float(np.logaddexp.reduce(ends, initial=-math.inf))
            if line >= self._plan.min_log_probability:
                self._found[text].append(min(line, 0.0))
        self._follow(visit.held + 1, visit.node, visit.log_probability, likely)

    def _follow(self, held: int, node: Node, before: float, likely: Likely) -> None:
        scores = before + likely.log_probabilities
        is_wanted = scores >= self._plan.min_log_probability
        if held < self._capacity and is_wanted.any():
            tokens, scores = likely.tokens[is_wanted], scores[is_wanted]
            for place, child in self._plan.trie.children(node, tokens):
                self._open.append(Visit(held, int(tokens[place]), child, float(scores[place])))
