"""llama.cpp with continuous batching, in its own environment: `python -m loadtests.peers.llama_cpp MODEL.gguf`.

The loop is as kind as we know how: sequences share every `llama_decode`, a free sequence takes the next
prompt at once, logits are asked for last positions only, the best token is taken by numpy from the
library's own buffer.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import llama_cpp
import numpy as np

from loadtests.peers.protocol import Job, Transcript, serve

BATCH_TOKENS = 2048
"""Most tokens of one `llama_decode`; a longer prompt would have to be cut."""
STEP_PROMPT_TOKENS = 512
"""Prompt tokens that join in one step; a prompt that is longer joins alone."""


def main() -> None:
    """Load the model and answer jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--sequence-tokens", type=int, default=1024)
    options = parser.parse_args()
    decoder = Decoder(options)
    serve(decoder.complete)


@dataclass
class _Sequence:
    """What one sequence of the context is about."""

    row: int
    new: list[int]
    """Tokens that are not in the context yet."""
    held: int = 0


class Decoder:
    """One context of llama.cpp and its batch."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._log = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_load_from_file(
            options.model.encode(), llama_cpp.llama_model_default_params()
        )
        if not model:
            raise SystemExit(f"{options.model}: llama.cpp cannot load it")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = options.sequences * options.sequence_tokens
        settings.n_batch = BATCH_TOKENS
        settings.n_ubatch = STEP_PROMPT_TOKENS
        settings.n_seq_max = options.sequences
        settings.n_threads = settings.n_threads_batch = options.threads
        settings.kv_unified = True  # as fast or faster than a buffer a sequence
        settings.no_perf = True
        self._context = llama_cpp.llama_init_from_model(model, settings)
        if not self._context:
            raise SystemExit("llama.cpp cannot make a context")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)

    def complete(self, job: Job, transcript: Transcript) -> None:
        """Complete every prompt; sequences join and leave at every step."""
        waiting = deque(sorted(range(len(job.prompts)), key=lambda row: job.arrivals[row]))
        free = list(range(self._options.sequences))
        active: dict[int, _Sequence] = {}
        while waiting or active:
            active |= self._admit(job, transcript, waiting, free)
            if not active:
                time.sleep(max(0.0, job.arrivals[waiting[0]] - transcript.now()))
                continue
            for number, token in zip(list(active), self._decode(active), strict=True):
                sequence = active[number]
                sequence.held += len(sequence.new)
                sequence.new = [token]
                if not transcript.add(sequence.row, token, job):
                    del active[number]
                    free.append(number)
                    llama_cpp.llama_memory_seq_rm(self._memory, number, -1, -1)

    def _admit(
        self, job: Job, transcript: Transcript, waiting: deque[int], free: list[int]
    ) -> dict[int, _Sequence]:
        """Give free sequences the prompts that have arrived, as many as one step may read."""
        joined: dict[int, _Sequence] = {}
        tokens = 0
        while waiting and free and job.arrivals[waiting[0]] <= transcript.now():
            prompt = job.prompts[waiting[0]]
            tokens += len(prompt)
            if joined and tokens > STEP_PROMPT_TOKENS:
                break
            joined[free.pop()] = _Sequence(waiting.popleft(), prompt)
        return joined

    def _decode(self, sequences: Mapping[int, _Sequence]) -> list[int]:
        """Read the new tokens of each sequence; return the best next token of each."""
        batch, count = self._batch, 0
        for number, sequence in sequences.items():
            for offset, token in enumerate(sequence.new):
                batch.token[count] = token
                batch.pos[count] = sequence.held + offset
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = number
                batch.logits[count] = offset == len(sequence.new) - 1
                count += 1
        batch.n_tokens = count
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise SystemExit("llama_decode failed")
        logits = np.ctypeslib.as_array(
            llama_cpp.llama_get_logits(self._context), (len(sequences), self._vocabulary)
        )
        best: list[int] = logits.argmax(axis=1).tolist()
        return best


if __name__ == "__main__":
    main()
