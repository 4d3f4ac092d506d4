"""transformers' `generate` in float32 over static batches: `python -m loadtests.peers.transformers FOLDER`."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer

from loadtests.peers.protocol import Job, Transcript, longest, serve, static_batches


class _Notes(BaseStreamer):  # type: ignore[misc]  # untyped library
    """Notes each new token of each row when `generate` has chosen it."""

    def __init__(self, batch: list[int], job: Job, transcript: Transcript) -> None:
        self._batch, self._job, self._transcript = batch, job, transcript
        self._is_open = [True] * len(batch)
        self._has_prompt = False

    def put(self, value: torch.Tensor) -> None:
        """Take the prompts first, then (rows,) tokens a step."""
        if not self._has_prompt:
            self._has_prompt = True
            return
        for place, token in enumerate(value.tolist()):
            if self._is_open[place]:
                self._is_open[place] = self._transcript.add(self._batch[place], token, self._job)

    def end(self) -> None:
        """Do nothing more."""


def main() -> None:
    """Load the model and answer jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()

    def _complete(job: Job, transcript: Transcript) -> None:
        for batch in static_batches(job, transcript, options.batch_size):
            _complete_batch(model, batch, job, transcript)

    serve(_complete)


def _complete_batch(
    model: Any,  # noqa: ANN401  (untyped library)
    batch: list[int],
    job: Job,
    transcript: Transcript,
) -> None:
    width = longest(job, batch)
    ids = torch.full((len(batch), width), job.end_id)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    for place, row in enumerate(batch):
        prompt = job.prompts[row]
        ids[place, width - len(prompt) :] = torch.tensor(prompt)
        mask[place, width - len(prompt) :] = 1
    with torch.inference_mode():
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=job.max_new_tokens,
            do_sample=False,
            eos_token_id=job.end_id,
            pad_token_id=job.end_id,
            streamer=_Notes(batch, job, transcript),
        )


if __name__ == "__main__":
    main()
