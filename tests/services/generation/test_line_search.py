"""The search in a completion's row, against torch that reads every query behind every line's start."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from services.generation.language_model import LanguageModel
from services.generation.line_search import SearchPlan
from services.generation.query_trie import QueryTrie
from services.generation.requests import Completion
from services.generation.sampling import Sampling

LIMIT = 14
SAMPLING = Sampling(temperature=1.0, top_k=0, max_new_tokens=LIMIT)
LINE_ENDS = frozenset(range(0, 257, 4))
PROMPTS = [[5, 9, 40], [7], list(range(20, 60)), [100, 101, 102, 103, 104], [11, 12]]
QUERIES = [
    *([token] for token in range(1, 257, 5)),
    *([first, second] for first, second in itertools.product(range(1, 257, 50), repeat=2)),
    *([first, second, 3] for first, second in itertools.product(range(1, 257, 50), repeat=2)),
]
LEAST = -16.0
"""About what the tiny model gives one token in a hundred with the end of a line behind it."""
NEAR = 1e-3
"""Sums of logarithms that ONNX Runtime and torch may not tell apart."""


def _named(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def _plan(least: float, max_visits: int = 1_000_000) -> SearchPlan:
    texts = [_named(query) for query in QUERIES]
    trie = QueryTrie(texts, lambda all_texts: [[int(i) for i in t.split()] for t in all_texts])
    return SearchPlan(trie, LINE_ENDS, least, max_visits)


@pytest.fixture(scope="module")
def model(tiny_slm_fp32: Path) -> Iterator[LanguageModel]:
    with LanguageModel(tiny_slm_fp32, threads=1, slots=6, context_tokens=128) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def reference(tiny_llama: Path) -> torch.nn.Module:
    llama: torch.nn.Module = AutoModelForCausalLM.from_pretrained(tiny_llama).eval()
    return llama


def _complete(model: LanguageModel, plan: SearchPlan | None, samples: int = 2) -> list[Completion]:
    tickets = [
        model.submit(
            prompt,
            end_id=0,
            sampling=SAMPLING,
            seed=number,
            samples=samples,
            wants_log_probabilities=True,
            search=plan,
        )
        for number, prompt in enumerate(PROMPTS)
    ]
    return [completion for ticket in tickets for completion in ticket.result(60)]


@torch.no_grad()
def _read(
    reference: torch.nn.Module, prompt: Sequence[int], completion: Completion, least: float
) -> Mapping[str, list[float]]:
    """Return what the search should find: every query at every start of a line, each read whole."""
    found: dict[str, list[float]] = {}
    ids = completion.ids
    seen = len(ids) + completion.is_finished
    starts = [at for at in range(seen) if at == 0 or ids[at - 1] in LINE_ENDS]
    for at, query in itertools.product(starts, QUERIES):
        if at + len(query) > LIMIT:
            continue
        read = torch.tensor([[*prompt, *ids[:at], *query]])
        likely = torch.log_softmax(reference(read).logits[0, -len(query) - 1 :].double(), dim=-1)
        written = sum(float(likely[place, token]) for place, token in enumerate(query))
        line = written + float(torch.logsumexp(likely[-1, sorted(LINE_ENDS)], 0))
        if line >= least:
            found.setdefault(_named(query), []).append(line)
    return found


def test_it_finds_what_reading_every_query_finds(
    model: LanguageModel, reference: torch.nn.Module
) -> None:
    lengths = set()
    for number, completion in enumerate(_complete(model, _plan(LEAST), samples=1)):
        expected = _read(reference, PROMPTS[number], completion, LEAST)
        assert completion.found is not None
        for text in {*expected, *completion.found}:
            scores = expected.get(text, []), completion.found.get(text, [])
            ours, theirs = (sorted(s for s in each if s > LEAST + NEAR) for each in scores)
            assert theirs == pytest.approx(ours, abs=NEAR)
            lengths.add(len(text.split()) if ours else 0)
    assert lengths >= {1, 2, 3}


def test_completions_are_what_they_are_without_a_search(model: LanguageModel) -> None:
    plain, searched = _complete(model, None), _complete(model, _plan(LEAST))

    assert [each.ids for each in searched] == [each.ids for each in plain]
    assert all(each.found is None for each in plain)
    assert all(each.found for each in searched)


def test_it_finds_the_same_whatever_else_is_in_the_batch(model: LanguageModel) -> None:
    together = _complete(model, _plan(LEAST), samples=2)

    for number, prompt in enumerate(PROMPTS):
        ticket = model.submit(
            prompt, end_id=0, sampling=SAMPLING, seed=number, samples=2, search=_plan(LEAST)
        )
        for alone, beside in zip(ticket.result(60), together[2 * number :], strict=False):
            assert alone.ids == beside.ids
            assert alone.found == beside.found


def test_a_likelier_bound_finds_a_part_of_it(model: LanguageModel) -> None:
    far, near = _complete(model, _plan(LEAST)), _complete(model, _plan(LEAST + 1.5))

    for all_found, found in zip(far, near, strict=True):
        assert all_found.found is not None
        assert found.found is not None
        kept = {
            text: [score for score in scores if score >= LEAST + 1.5]
            for text, scores in all_found.found.items()
        }
        assert {text: scores for text, scores in kept.items() if scores} == found.found


def test_a_search_ends_after_so_many_tokens_and_keeps_what_it_found(model: LanguageModel) -> None:
    everything, some = _complete(model, _plan(LEAST)), _complete(model, _plan(LEAST, 40))

    for whole, part in zip(everything, some, strict=True):
        assert whole.found is not None
        assert part.found is not None
        assert part.ids == whole.ids
        assert 0 < sum(map(len, part.found.values())) <= 40
        assert sum(map(len, part.found.values())) < sum(map(len, whole.found.values()))
        assert part.found.keys() <= whole.found.keys()
