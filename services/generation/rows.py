"""One completion while it is written: its token ids, its random numbers, and what ends it."""

from __future__ import annotations

import numpy as np

from services.generation.line_search import LineSearch, Visit
from services.generation.requests import Completion, Ticket
from services.generation.sampling import Candidates
from services.generation.stop_strings import Decode, StopStrings


class Job:
    """A ticket with the completions of its samples so far.

    Args:
        ticket: who waits for them.
    """

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._completions: list[Completion | None] = [None] * ticket.request.samples

    def finish(self, sample: int, completion: Completion) -> None:
        """Take a sample's completion; the last one keeps the ticket's promise."""
        self._completions[sample] = completion
        finished = [completion for completion in self._completions if completion is not None]
        if len(finished) == len(self._completions):
            self.ticket.keep(finished)


class Row:
    """One sample of a job, in a row of the decoder: drawn token by token, then perhaps searched.

    Args:
        job: it belongs to.
        sample: its number in the job.
        decode: turns token ids into text, for stop strings.
    """

    def __init__(self, job: Job, sample: int, decode: Decode) -> None:
        request = job.ticket.request
        self.job, self.sample, self.request = job, sample, request
        self.held = len(request.prompt)
        """Tokens whose keys and values the decoder's row holds."""
        self.draws = np.random.default_rng((request.seed, sample))
        self.ids: list[int] = []
        self.log_probabilities: list[float] = []
        self._stop = StopStrings(request.stop_strings, decode) if request.stop_strings else None
        self._is_finished = False
        capacity = self.held + request.sampling.max_new_tokens
        self._search = LineSearch(request.search, capacity) if request.search else None
        self._visit: Visit | None = None

    @property
    def is_searching(self) -> bool:
        """Tell whether the completion is written, and its lines are searched."""
        return self._visit is not None

    @property
    def next_token(self) -> int:
        """Return the token that the decoder appends next, behind the held ones."""
        return self._visit.token if self._visit else self.ids[-1]

    @property
    def wants_a_look(self) -> bool:
        """Tell whether the search wants to see what may come next."""
        if self._search is None:
            return False
        return self.is_searching or self._search.begins_line(self.ids[-1] if self.ids else None)

    def look(self, candidates: Candidates, place: int) -> bool:
        """Show the search what may come next; tell whether the row is over, as `take` does."""
        if self._search is None:
            return False
        likely = self._search.read(candidates, place, self._visit)
        if self._visit is None:
            self._search.start_line(self.held, likely)
            return False
        self._search.take(self._visit, likely)
        return self._visit_next()

    def take(self, token: int, log_probability: float | None) -> bool:
        """Append a token; tell whether the row is over, and then hand its completion to the job."""
        if token in self.request.end_ids:
            return self._finish(is_finished=True)
        self.ids.append(token)
        if log_probability is not None:
            self.log_probabilities.append(log_probability)
        if self.request.on_token:
            self.request.on_token(self.sample, token)
        if self._stop and self._stop.feed(token):
            return self._finish(is_finished=True)
        if len(self.ids) >= self.request.sampling.max_new_tokens:
            return self._finish(is_finished=False)
        return False

    def _finish(self, *, is_finished: bool) -> bool:
        self._is_finished = is_finished
        return self._visit_next()

    def _visit_next(self) -> bool:
        """Turn to what the search wants to see next; without any the row is over."""
        self._visit = self._search.next() if self._search else None
        if self._visit:
            self.held = self._visit.held
            return False
        text = self._stop.text if self._stop else None
        found = self._search.found if self._search else None
        self.job.finish(
            self.sample,
            Completion(self.ids, self._is_finished, self.log_probabilities, text, found),
        )
        return True
