"""One completion while it is written: its token ids, its random numbers, and what ends it."""

from __future__ import annotations

import numpy as np

from services.generation.requests import Completion, Ticket
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
    """One sample of a job, in a row of the decoder.

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

    def take(self, token: int, log_probability: float | None) -> bool:
        """Append a token; tell whether the completion is over, and then hand it to the job."""
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
        text = self._stop.text if self._stop else None
        self.job.finish(
            self.sample, Completion(self.ids, is_finished, self.log_probabilities, text)
        )
        return True
