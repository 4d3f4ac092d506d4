"""What a decoder's transcript says about its speed. Pure: values in, figures out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.peers.protocol import Job, Transcript


@dataclass(frozen=True)
class Speed:
    """One or more runs of the same decoder, together."""

    documents: int
    tokens: int
    seconds: float
    first_query_ms: Sequence[float]
    """One a document: from its arrival to its first complete line."""

    @property
    def documents_per_second(self) -> float:
        """Return documents finished a second."""
        return self.documents / self.seconds

    @property
    def tokens_per_second(self) -> float:
        """Return tokens written a second."""
        return self.tokens / self.seconds

    @property
    def tokens_per_document(self) -> float:
        """Return tokens written a document."""
        return self.tokens / self.documents

    @property
    def first_query_p50_ms(self) -> float:
        """Return the median time to a document's first query."""
        return float(np.median(self.first_query_ms))

    def __add__(self, other: Speed) -> Speed:
        return Speed(
            self.documents + other.documents,
            self.tokens + other.tokens,
            self.seconds + other.seconds,
            [*self.first_query_ms, *other.first_query_ms],
        )


def speed_of(job: Job, transcript: Transcript, line_ends: Collection[int]) -> Speed:
    """Return how fast a job was done.

    Args:
        job: what was asked.
        transcript: what was written.
        line_ends: the tokens that end a line.
    """
    first_query_ms = [
        1000 * (_first_line_seconds(tokens, seconds, finished, line_ends) - arrival)
        for tokens, seconds, finished, arrival in zip(
            transcript.tokens,
            transcript.token_seconds,
            transcript.finished_seconds,
            job.arrivals,
            strict=True,
        )
    ]
    return Speed(
        documents=len(job.prompts),
        tokens=sum(map(len, transcript.tokens)),
        seconds=max(transcript.finished_seconds),
        first_query_ms=first_query_ms,
    )


def _first_line_seconds(
    tokens: Sequence[int],
    seconds: Sequence[float],
    finished: float,
    line_ends: Collection[int],
) -> float:
    """Return when the first line that is not empty was complete: at its end, or the completion's."""
    for place, token in enumerate(tokens):
        if token in line_ends and any(before not in line_ends for before in tokens[:place]):
            return seconds[place]
    return finished
