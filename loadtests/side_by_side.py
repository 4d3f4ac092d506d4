"""Several decoders on the same job: which of its settings suits each best, then all of them in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from loadtests.peers.protocol import Job, Transcript


class Completes(Protocol):
    """What is compared."""

    def complete(self, job: Job) -> Transcript:
        """Do a job; return what was written and when."""
        ...


@dataclass(frozen=True)
class Contender:
    """A decoder of the same weights, not started yet."""

    name: str
    setting: str
    """What is chosen among `choices`: batch size, slots, type."""
    choices: Sequence[str]
    start: Callable[[str], AbstractContextManager[Completes]]
    """Gives the decoder with one of the choices."""


def best_choice(contender: Contender, job: Job) -> str:
    """Return the choice with which a contender finishes a job first; one alone needs no trial."""
    if len(contender.choices) == 1:
        return contender.choices[0]
    seconds = {}
    for choice in contender.choices:
        with contender.start(choice) as decoder:
            warm_up(decoder, job)
            seconds[choice] = max(decoder.complete(job).finished_seconds)
        _tell(f"{contender.name}, {contender.setting} {choice}", seconds[choice])
    return min(seconds, key=lambda choice: seconds[choice])


def warm_up(decoder: Completes, job: Job) -> None:
    """Let a decoder complete two of the prompts, so that what it does once only is not timed."""
    decoder.complete(job.part(range(min(2, len(job.prompts)))))


def take_turns(
    decoders: Mapping[str, Completes], jobs: Mapping[str, Sequence[Job]]
) -> dict[str, list[Transcript]]:
    """Return each decoder's transcripts of its own jobs, one a turn: A B C, A B C.

    What changes on the machine meanwhile meets all of them alike.
    """
    written: dict[str, list[Transcript]] = {name: [] for name in decoders}
    for turn in range(max(map(len, jobs.values()))):
        for name, decoder in decoders.items():
            written[name].append(decoder.complete(jobs[name][turn]))
            _tell(name, max(written[name][-1].finished_seconds))
    return written


def _tell(what: str, seconds: float) -> None:
    """Say on stderr how far the benchmark is: it takes minutes."""
    print(f"{what}: {seconds:.1f} s", file=sys.stderr, flush=True)
