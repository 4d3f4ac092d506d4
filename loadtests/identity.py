"""Does a document get the same queries in a crowd as alone? Greedy texts compared, differences explained.

Kernels for one row and for many add in another order, so logits differ in the last bits and a near-tie
may fall the other way. Any other difference is a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.generation.batching import Batcher
from services.generation.decoder import OnnxDecoder
from services.generation.requests import Request, Ticket
from services.generation.sampling import Sampling
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard

NEAR_TIE = 1e-3
"""Gap between the best two logits below which another order of additions may decide."""


@dataclass(frozen=True)
class Identity:
    """How many texts are the same, and how the others came to differ.

    Args:
        identical_fraction: texts that are the same alone and in the crowd.
        unexplained_differences: texts whose first difference is not at a near-tie.
        gaps: of the best two logits at each text's first difference.
    """

    identical_fraction: float
    unexplained_differences: int
    gaps: list[float]


def measure_identity(
    folder: Path,
    prompts: Sequence[Sequence[int]],
    *,
    end_id: int,
    max_new_tokens: int,
    slots: int = 32,
    prefill_tokens: int = 256,
    seed: int = 0,
) -> Identity:
    """Write each prompt's completion alone and among random arrivals, and compare.

    Args:
        folder: the exported model.
        prompts: token ids.
        end_id: the token that ends a completion.
        max_new_tokens: longest completion.
        slots: rows of the crowd.
        prefill_tokens: of a step.
        seed: of the arrivals.
    """
    decoder = _decoder(folder, slots + 1, max(map(len, prompts)) + max_new_tokens)
    requests = [
        Request(
            prompt, frozenset({end_id}), Sampling(temperature=0, max_new_tokens=max_new_tokens)
        )
        for prompt in prompts
    ]
    alone = [_write(decoder, [[request]], prefill_tokens)[0] for request in requests]
    random = np.random.default_rng(seed)
    order = [requests[n] for n in random.permutation(len(requests))]
    arrivals: list[list[Request]] = []
    while sum(map(len, arrivals)) < len(order):
        done = sum(map(len, arrivals))
        arrivals.append(order[done : done + int(random.poisson(0.4))])
    by_prompt = {
        id(request.prompt): ids
        for request, ids in zip(order, _write(decoder, arrivals, prefill_tokens), strict=True)
    }
    gaps = [
        _gap(decoder, prompt, ids, by_prompt[id(prompt)])
        for prompt, ids in zip(prompts, alone, strict=True)
        if ids != by_prompt[id(prompt)]
    ]
    return Identity(
        identical_fraction=1 - len(gaps) / len(prompts),
        unexplained_differences=sum(gap >= NEAR_TIE for gap in gaps),
        gaps=gaps,
    )


def _write(
    decoder: OnnxDecoder, arrivals: Sequence[Sequence[Request]], prefill_tokens: int
) -> list[list[int]]:
    """Run the batcher to the end; requests arrive before its steps. Texts in the order of arrival."""
    batcher = Batcher(decoder, lambda ids: "", prefill_tokens=prefill_tokens)
    tickets: list[Ticket] = []
    for arriving in arrivals:
        for request in arriving:
            tickets.append(Ticket(request, 0.0))
            batcher.add(tickets[-1])
        batcher.step()
    while not batcher.is_idle:
        batcher.step()
    return [ticket.result(timeout=0)[0].ids for ticket in tickets]


def _gap(
    decoder: OnnxDecoder, prompt: Sequence[int], alone: Sequence[int], crowd: Sequence[int]
) -> float:
    """Return the gap of the best two logits where two texts begin to differ, computed as alone."""
    common = next(
        (n for n, pair in enumerate(zip(alone, crowd, strict=False)) if pair[0] != pair[1]),
        min(len(alone), len(crowd)),
    )
    candidates = decoder.prefill(0, [prompt])
    for held, token in enumerate(alone[:common], len(prompt)):
        candidates = decoder.decode(np.array([token]), np.array([held]))
    second, best = np.partition(candidates.logits[0], -2)[-2:]
    return float(best - second)


def _decoder(folder: Path, rows: int, capacity: int) -> OnnxDecoder:
    card = GeneratorCard.model_validate_json((folder / GENERATOR_CARD).read_bytes())
    return OnnxDecoder(
        folder / "model.onnx", rows=rows, capacity=capacity, head_size=card.head_size
    )
