"""onnxruntime-genai's own generate loop over static batches: `python -m loadtests.peers.genai FOLDER`."""

from __future__ import annotations

import argparse
import json

import numpy as np
import onnxruntime_genai

from loadtests.peers.protocol import Job, Transcript, longest, serve, static_batches


def main() -> None:
    """Load the model and answer jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    config = onnxruntime_genai.Config(options.model)
    session = {"intra_op_num_threads": options.threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    model = onnxruntime_genai.Model(config)

    def _complete(job: Job, transcript: Transcript) -> None:
        for batch in static_batches(job, transcript, options.batch_size):
            _complete_batch(model, batch, job, transcript)

    serve(_complete)


def _complete_batch(
    model: onnxruntime_genai.Model, batch: list[int], job: Job, transcript: Transcript
) -> None:
    width = longest(job, batch)
    ids = np.full((len(batch), width), job.end_id, dtype=np.int32)  # also its padding
    for place, row in enumerate(batch):
        prompt = job.prompts[row]
        ids[place, : len(prompt)] = prompt
    settings = onnxruntime_genai.GeneratorParams(model)
    settings.set_search_options(
        do_sample=False, batch_size=len(batch), max_length=width + job.max_new_tokens
    )
    generator = onnxruntime_genai.Generator(model, settings)
    generator.append_tokens(ids)
    is_open = [True] * len(batch)
    while any(is_open) and not generator.is_done():
        generator.generate_next_token()
        for place, token in enumerate(generator.get_next_tokens().tolist()):
            if is_open[place]:
                is_open[place] = transcript.add(batch[place], token, job)


if __name__ == "__main__":
    main()
