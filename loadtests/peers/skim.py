"""The served SLM as the generation service runs it: `python -m loadtests.peers.skim FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from loadtests.peers.protocol import Job, Transcript, serve, static_batches
from services.generation.language_model import LanguageModel, Sampling


def main() -> None:
    """Load the model and answer jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    model = LanguageModel(options.model, threads=options.threads, batch_size=options.batch_size)

    def _complete(job: Job, transcript: Transcript) -> None:
        for batch in static_batches(job, transcript, options.batch_size):
            completions = model.complete(
                [job.prompts[row] for row in batch],
                end_id=job.end_id,
                sampling=Sampling(temperature=0, max_new_tokens=job.max_new_tokens),
                seeds=[0] * len(batch),
            )
            for row, completion in zip(batch, completions, strict=True):
                for token in [*completion.ids, job.end_id]:
                    if not transcript.add(row, token, job):
                        break

    serve(_complete)


if __name__ == "__main__":
    main()
