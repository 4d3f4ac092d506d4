"""The served SLM as the generation service runs it: `python -m loadtests.peers.skim FOLDER`."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from loadtests.peers.protocol import Job, Transcript, serve
from services.generation.language_model import LanguageModel
from services.generation.requests import Completion
from services.generation.sampling import Sampling


def main() -> None:
    """Load the model and answer jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slots", type=int, default=32)
    options = parser.parse_args()
    with LanguageModel(options.model, threads=options.threads, slots=options.slots) as model:
        serve(lambda job, transcript: complete(model, job, transcript))


def complete(model: LanguageModel, job: Job, transcript: Transcript) -> None:
    """Submit each prompt when it arrives; note every token when it is there."""
    sampling = Sampling(temperature=0, max_new_tokens=job.max_new_tokens)
    done = threading.Semaphore(0)

    def _note(row: int) -> Callable[[int, int], None]:
        return lambda sample, token: _add(row, token)

    def _add(row: int, token: int) -> None:
        transcript.add(row, token, job)

    def _finish(row: int) -> Callable[[Future[list[Completion]]], None]:
        def _end(written: Future[list[Completion]]) -> None:
            (completion,) = written.result()
            if completion.is_finished:
                transcript.add(row, job.end_id, job)
            done.release()

        return _end

    tickets = []
    for row in sorted(range(len(job.prompts)), key=lambda row: job.arrivals[row]):
        time.sleep(max(0.0, job.arrivals[row] - transcript.now()))
        ticket = model.submit(
            job.prompts[row], end_id=job.end_id, sampling=sampling, on_token=_note(row)
        )
        ticket.add_done_callback(_finish(row))
        tickets.append(ticket)
    for ticket in tickets:
        ticket.result()  # an error shows here
        done.acquire()


if __name__ == "__main__":
    main()
