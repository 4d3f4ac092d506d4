"""How the benchmark talks to a decoder's process: a JSON line a job on stdin, a JSON line back on stdout.

Only the standard library is used here: this module runs in every peer's own environment.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True)
class Job:
    """Prompts to complete greedily; token ids, in any order of arrival."""

    prompts: list[list[int]]
    arrivals: list[float]
    """Seconds after the start at which each prompt may first be seen."""
    max_new_tokens: int
    end_id: int

    def part(self, rows: Iterable[int]) -> Job:
        """Return the job of some of the prompts only."""
        kept = list(rows)
        return replace(
            self,
            prompts=[self.prompts[row] for row in kept],
            arrivals=[self.arrivals[row] for row in kept],
        )


@dataclass
class Transcript:
    """What was written and when, one entry a prompt, seconds after the start."""

    tokens: list[list[int]]
    """Without the end token."""
    token_seconds: list[list[float]]
    finished_seconds: list[float]
    peak_rss_mb: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, job: Job) -> Transcript:
        """Return an empty one for a job that starts now."""
        count = len(job.prompts)
        return cls([[] for _ in range(count)], [[] for _ in range(count)], [0.0] * count)

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self.started

    def add(self, row: int, token: int, job: Job) -> bool:
        """Note the next token of a prompt; tell whether the prompt still wants more."""
        now = self.now()
        if token != job.end_id:
            self.tokens[row].append(token)
            self.token_seconds[row].append(now)
        is_open = token != job.end_id and len(self.tokens[row]) < job.max_new_tokens
        if not is_open:
            self.finished_seconds[row] = now
        return is_open


def serve(complete: Callable[[Job, Transcript], None]) -> None:
    """Answer jobs until stdin ends. A decoder's own prints go to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        job = Job(**json.loads(line))
        transcript = Transcript.of(job)
        complete(job, transcript)
        transcript.peak_rss_mb = peak_rss_mb()
        answers.write(json.dumps(asdict(transcript)) + "\n")
        answers.flush()


def static_batches(job: Job, transcript: Transcript, batch_size: int) -> Iterator[list[int]]:
    """Yield the rows of one static batch after another: what has arrived, similar lengths together.

    The caller completes each batch before it asks for the next. Of many that wait, a batch takes the longest
    first, so that little is padded and the last batch is a short one.
    """
    waiting = sorted(range(len(job.prompts)), key=lambda row: job.arrivals[row])
    while waiting:
        arrived = [row for row in waiting if job.arrivals[row] <= transcript.now()]
        if not arrived:
            time.sleep(max(0.0, job.arrivals[waiting[0]] - transcript.now()))
            continue
        batch = sorted(arrived, key=lambda row: -len(job.prompts[row]))[:batch_size]
        waiting = [row for row in waiting if row not in batch]
        yield batch


def longest(job: Job, rows: Sequence[int]) -> int:
    """Return the tokens of the longest of these prompts."""
    return max(len(job.prompts[row]) for row in rows)


def peak_rss_mb() -> float:
    """Return the most memory this process has held, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
